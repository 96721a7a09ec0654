"""Jobyard, through its own client."""

import os

import marks

from jobyard import Client, task


@task("noop")
def noop(number):
    """Nothing but the mark."""
    marks.sign(number)


@task("hold")
def hold(slot):
    """Take a while."""
    marks.hold(*slot)


_client = Client(os.environ["BENCH_URL"]) if "BENCH_URL" in os.environ else None


def submit(number):
    """One job."""
    _client.submit("noop", number)


def submit_many(numbers):
    """By the thousand."""
    _client.submit_many({"task": "noop", "payload": number} for number in numbers)


def submit_hold(number, seconds):
    """One that takes a while."""
    _client.submit("hold", [number, seconds])
