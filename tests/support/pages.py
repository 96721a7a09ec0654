"""Runs what a page of the documentation shows: writes its files, runs its console commands, compares their output.

```python              a block whose first line is `# name.py` is that file
```console             `$ command`, then what it prints: `…` stands for anything, an id for any id, spaces for any number
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import LIMIT_S

MARK = "--8<-- command"
AN_ID = re.compile(r"\b[0-9a-f]{24}\b")
NOBODYS_ID = "0" * 24


@dataclass(frozen=True, slots=True)
class Command:
    """A command, and the output that the page shows."""

    typed: str
    promised: list[str]


def files_of(page: str) -> dict[str, str]:
    """The files that the page shows, by path."""
    blocks = re.findall(r"```python\n(# ([\w/]+\.py)\n.*?)```", page, re.DOTALL)
    return {name: block for block, name in blocks}


def commands_of(page: str) -> list[Command]:
    """The commands of the page, in order."""
    commands: list[Command] = []
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                commands.append(Command(line[2:], []))
            else:
                commands[-1].promised.append(line)
    return commands


def carry_out(commands: list[Command], *, folder: Path, environment: Mapping[str, str]) -> list[list[str]]:
    """Run the commands in one shell, so that they share its variables; the output of each."""
    script = "\n".join(f"echo '{MARK}'\n{command.typed}" for command in commands)
    ended = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    return [part.splitlines()[1:] for part in ended.stdout.split(MARK)[1:]]


def differences(commands: list[Command], printed: list[list[str]]) -> list[str]:
    """The commands whose output differs from the page."""
    return [
        f"$ {command.typed}\n" + "\n".join(lines) + "\n  instead of\n" + "\n".join(command.promised)
        for command, lines in zip(commands, printed, strict=True)
        if not re.fullmatch(_pattern(command.promised), "".join(f"{line}\n" for line in lines), re.DOTALL)
    ]


def _pattern(promised: list[str]) -> str:
    """A line `…` matches any number of lines; `…` within a line matches any text."""
    return "".join("(?:[^\n]*\n)*" if line == "…" else f"{_line(line)}\n" for line in promised)


def _line(line: str) -> str:
    known = re.sub(r"(\\ ){2,}", " +", re.escape(line)).replace("…", "[^\n]*")
    return AN_ID.sub(lambda found: found[0] if found[0] == NOBODYS_ID else "[0-9a-f]{24}", known)
