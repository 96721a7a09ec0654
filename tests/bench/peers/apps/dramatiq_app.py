"""Dramatiq on Redis; it acknowledges late by itself."""

import os

import dramatiq
import marks
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_URL"]))


@dramatiq.actor
def noop(number):
    """Nothing but the mark."""
    marks.sign(number)


@dramatiq.actor
def hold(number, seconds):
    """Take a while."""
    marks.hold(number, seconds)


def submit(number):
    """One job."""
    noop.send(number)


def submit_many(numbers):
    """There is no call for many."""
    for number in numbers:
        noop.send(number)


def submit_hold(number, seconds):
    """One that takes a while."""
    hold.send(number, seconds)
