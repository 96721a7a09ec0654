"""Celery on Redis: late acknowledgement, and the prefetching that its guide recommends for many short tasks."""

import os

import marks
from celery import Celery

app = Celery("celery_app", broker=os.environ["BENCH_URL"])
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, task_ignore_result=True, worker_prefetch_multiplier=64)


@app.task
def noop(number):
    """Nothing but the mark."""
    marks.sign(number)


@app.task
def hold(number, seconds):
    """Take a while."""
    marks.hold(number, seconds)


def submit(number):
    """One job."""
    noop.delay(number)


def submit_many(numbers):
    """There is no call for many that saves anything."""
    for number in numbers:
        noop.delay(number)


def submit_hold(number, seconds):
    """One that takes a while."""
    hold.delay(number, seconds)
