"""RQ on Redis."""

import os

import marks
from redis import Redis
from rq import Queue

CHUNK = 1000
queue = Queue(connection=Redis.from_url(os.environ["BENCH_URL"]))


def noop(number):
    """Nothing but the mark."""
    marks.sign(number)


def hold(number, seconds):
    """Take a while."""
    marks.hold(number, seconds)


def submit(number):
    """One job."""
    queue.enqueue(noop, number, result_ttl=0)


def submit_many(numbers):
    """By the thousand."""
    for start in range(0, len(numbers), CHUNK):
        queue.enqueue_many([Queue.prepare_data(noop, (number,), result_ttl=0) for number in numbers[start : start + CHUNK]])


def submit_hold(number, seconds):
    """One that takes a while."""
    queue.enqueue(hold, number, seconds, result_ttl=0)
