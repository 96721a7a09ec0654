"""procrastinate on PostgreSQL. Run as a program, it creates its tables."""

import asyncio
import os

import marks
from procrastinate import App, PsycopgConnector

CHUNK = 1000
app = App(connector=PsycopgConnector(conninfo=os.environ["BENCH_URL"]), import_paths=["procrastinate_app"])
_loop = asyncio.new_event_loop()


@app.task(name="noop")
async def noop(number):
    """Nothing but the mark."""
    marks.sign(number)


@app.task(name="hold")
def hold(number, seconds):
    """Take a while, in a thread."""
    marks.hold(number, seconds)


def submit(number):
    """One job."""
    _run(lambda: noop.defer_async(number=number))


def submit_many(numbers):
    """By the thousand."""
    for start in range(0, len(numbers), CHUNK):
        jobs = [{"number": number} for number in numbers[start : start + CHUNK]]
        _run(lambda jobs=jobs: noop.batch_defer_async(*jobs))


def submit_hold(number, seconds):
    """One that takes a while."""
    _run(lambda: hold.defer_async(number=number, seconds=seconds))


_is_open = False


def _run(start):
    _loop.run_until_complete(_opened(start))


async def _opened(start):
    global _is_open
    if not _is_open:
        await app.open_async()
        _is_open = True
    await start()


if __name__ == "__main__":
    _run(lambda: app.schema_manager.apply_schema_async())
