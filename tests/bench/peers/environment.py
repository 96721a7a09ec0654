"""A virtual environment for each peer, separate from ours and kept in the user's cache, so that only the first run installs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

INSTALL_S = 300.0
SHOWN = "import importlib.metadata as m, json, sys; print(json.dumps({name: m.version(name) for name in sys.argv[1:]}))"


class CannotRun(Exception):
    """A peer that cannot be measured here, and why."""


def run_command(command: Sequence[str], failure: str) -> str:
    """Run a command; its output. `failure`: the error message when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired as late:
        raise CannotRun(f"{failure} within {INSTALL_S:.0f} s") from late
    if done.returncode:
        raise CannotRun(f"{failure}: {last_line(done.stderr)}")
    return done.stdout


def peer_bin(name: str, packages: Sequence[str], *, run: Callable[[Sequence[str], str], str] = run_command) -> Path:
    """The folder of the environment's programs; the environment is created when it does not exist."""
    home = cache() / f"{name}-{sys.version_info.major}.{sys.version_info.minor}"
    ready = home / "made-for"
    wanted = " ".join(packages)
    if not ready.is_file() or ready.read_text() != wanted:
        run([sys.executable, "-I", "-m", "venv", "--clear", str(home)], "cannot make an environment")
        pip = [str(home / "bin" / "python"), "-I", "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
        run([*pip, *packages], f"cannot install {wanted}")
        ready.write_text(wanted)
    return home / "bin"


def versions(programs: Path, names: Sequence[str]) -> str:
    """The installed versions, such as `celery 5.5.1, redis 5.2.1`."""
    said = run_command([str(programs / "python"), "-I", "-c", SHOWN, *names], "cannot tell the versions")
    return ", ".join(f"{name} {version}" for name, version in json.loads(said).items())


def cache() -> Path:
    """The folder of the environments: in `XDG_CACHE_HOME`, else `~/.cache`, else the temporary folder."""
    asked = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    base = Path(asked) if os.access(Path(asked).parent, os.W_OK) else Path(tempfile.gettempdir())
    return base / "jobyard-bench" / "peers"


def last_line(text: str) -> str:
    """The last line of a failed program's output, which usually has the reason."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it printed nothing"
