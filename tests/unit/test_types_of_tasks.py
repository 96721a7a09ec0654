"""What type checkers see of a task: the function's own signature, in calls and in submissions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.system import CHECKOUT

PROGRAM = '''
from pathlib import Path
from jobyard import AsyncClient, AsyncJobHandle, Client, JobHandle, current_job, task

@task("resize", max_retries=3, queue="images", priority="high", retry_on=(OSError,))
def resize(*, path: Path, width: int = 100) -> dict[str, int]:
    return {"attempt": current_job().attempt, "width": width}

@task("whole")
def whole(payload: list[int]) -> int:
    return sum(payload)

@task("nothing")
def nothing() -> None: ...

@task("later")
async def later(*, number: int) -> str:
    return str(number)

def right(client: Client) -> JobHandle:
    result: dict[str, int] = resize(path=Path("a"))
    total: int = whole([1])
    handle: JobHandle = resize.submit(path=Path("a"), width=50)
    job_id: str = resize.options(priority="high", delay_s=60).submit(path=Path("a"))
    whole.submit([1], queue="q", delay_s=5)
    nothing.submit(queue="q")
    later.submit(number=5)
    client.submit(resize, path=Path("a"))
    client.submit(whole, [1], priority="low")
    client.submit("echo", {"any": "thing"}, queue="q")
    handles: list[JobHandle] = resize.submit_many([{"path": "a"}])
    print(result, total, job_id, handle.wait(timeout_s=5).result, handle.get().status, handle.cancel(), handles)
    return handle

async def right_async(client: AsyncClient) -> AsyncJobHandle:
    text: str = await later(number=1)
    handle: AsyncJobHandle = await later.submit_async(number=1)
    await client.submit(later, number=1)
    await client.submit(whole, [1], queue="q")
    print(text, (await handle.wait()).result)
    return handle

async def wrong(client: Client) -> None:
    resize(path=5)  # E
    resize.submit(path=Path("a"), width="50")  # E
    resize.submit(width=50)  # E
    resize.submit(Path("a"))  # E
    resize.submit(path=Path("a"), queue="q")  # E
    resize.options(queue=5).submit(path=Path("a"))  # E
    resize.options(queue="q").submit(pth=Path("a"))  # E
    whole.submit("text")  # E
    whole.submit([1], quue="q")  # E
    nothing.submit(5)  # E
    await later.submit_async(number="1")  # E
    client.submit(resize, pth=5)  # E
    number: int = whole.submit([1])  # E
    task("x", retry_on="ValueError")  # E
'''


def test_mypy_strict_sees_the_signature_of_a_task(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(PROGRAM)
    expected = [number for number, line in enumerate(PROGRAM.split("\n"), 1) if line.endswith("# E")]
    words = [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, f"--cache-dir={tmp_path / 'cache'}", "shop.py"]

    environment = {**os.environ, "MYPYPATH": str(CHECKOUT / "src")}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)

    found = [int(line) for line in re.findall(r"^shop\.py:(\d+): error", done.stdout, re.MULTILINE)]
    assert sorted(set(found)) == expected, done.stdout + done.stderr
