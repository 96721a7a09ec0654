"""taskiq on a Redis stream, its broker with acknowledgement."""

import asyncio
import os

import marks
from taskiq_redis import RedisStreamBroker

AT_ONCE = 50
broker = RedisStreamBroker(url=os.environ["BENCH_URL"])
_loop = asyncio.new_event_loop()


@broker.task
async def noop(number: int) -> None:
    """Nothing but the mark."""
    marks.sign(number)


@broker.task
def hold(number: int, seconds: float) -> None:
    """Take a while, in a thread."""
    marks.hold(number, seconds)


def submit(number):
    """One job."""
    _loop.run_until_complete(_started(noop.kiq, [(number,)]))


def submit_many(numbers):
    """There is no call for many jobs, but many can be in flight at once."""
    for start in range(0, len(numbers), AT_ONCE):
        _loop.run_until_complete(_started(noop.kiq, [(number,) for number in numbers[start : start + AT_ONCE]]))


def submit_hold(number, seconds):
    """One that takes a while."""
    _loop.run_until_complete(_started(hold.kiq, [(number, seconds)]))


_is_started = False


async def _started(kiq, calls):
    global _is_started
    if not _is_started:
        await broker.startup()
        _is_started = True
    await asyncio.gather(*(kiq(*call) for call in calls))
