"""Huey, on Redis or on SQLite."""

import os

import marks
from huey import RedisHuey, SqliteHuey

URL = os.environ["BENCH_URL"]
huey = RedisHuey(url=URL, results=False) if URL.startswith("redis:") else SqliteHuey(filename=URL, results=False)


@huey.task()
def noop(number):
    """Nothing but the mark."""
    marks.sign(number)


@huey.task()
def hold(number, seconds):
    """Take a while."""
    marks.hold(number, seconds)


def submit(number):
    """One job."""
    noop(number)


def submit_many(numbers):
    """There is no call for many."""
    for number in numbers:
        noop(number)


def submit_hold(number, seconds):
    """One that takes a while."""
    hold(number, seconds)
