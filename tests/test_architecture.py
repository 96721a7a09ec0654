"""The rules of the code that a machine can check: who imports whom, sizes, names, who may ask the system for time and chance."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config import SETTINGS

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(path for folder in ("engine", "api") for path in (ROOT / folder).rglob("*.py"))
ROLES = ("engine.scheduler", "engine.watcher", "engine.queue", "engine.worker", "engine.executor")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
MAX_LINE_CHARS = 132

LAYERS: tuple[tuple[str, ...], ...] = (
    ("engine.errors",),
    ("engine.owners", "engine.job", "engine.strict_json"),
    ("engine.lifecycle", "engine.world", "engine.process_control", "engine.facts"),
    ("engine.submission", "engine.selection", "engine.reasons", "engine.config", "engine.logs", "engine.pace",
     "engine.measures", "engine.client"),
    ("engine.wire", "engine.store", "engine.tasks"),
    ("engine.backlog", "engine.upkeep", "engine.executor", "engine.slot", "engine.attempts", "engine.output", "engine.queue_line",
     "engine.workshop", "engine.interrupt", "engine.outcomes", "engine.surroundings", "engine.executor_line", "engine.seats",
     "engine.ledger", "engine.hold", "engine.silence", "engine.intake", "engine.migration", "engine.acceptance", "engine.replies",
     "engine.bulk", "engine.vigil", "engine.inquiry"),
    ("engine.scheduler", "engine.watcher", "engine.queue", "engine.worker", "engine.processes",
     "engine.testing", "engine.pytest_plugin"),
    ("api",),
)  # fmt: skip
"""Lowest first; a module imports from its own layer or below."""

CLOCKS_AND_DICE = re.compile(
    r"\b(time\.(time|time_ns|monotonic|sleep|perf_counter)|random\.\w+|uuid\.\w+|datetime\.(now|utcnow|today)"
    r"|os\.(fork|kill|killpg|urandom))\("
)
MAY_ASK = {"engine/world.py", "api/http_worker.py"}
"""`api/http_worker.py` hands gunicorn's own connections to gunicorn's own poller, which compares with `time.monotonic`."""

GUNICORN_HOOKS = {"handle_error", "handle_exit", "handle_request", "handle_quit", "handle_term", "manage_workers"}
BANNED = re.compile(r"^(handle|process|do|manage)_|Manager|Helper|utils", re.ASCII)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def layer_of(module: str) -> int | None:
    for depth, names in enumerate(LAYERS):
        if any(module == name or module.startswith(name + ".") for name in names):
            return depth
    return None


def functions_of(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.fixture(params=SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def source(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture
def tree(source: Path) -> ast.Module:
    return ast.parse(source.read_text("utf-8"))


def test_every_module_has_its_place_in_the_layers(source: Path) -> None:
    assert name_of(source) == "engine" or layer_of(name_of(source)) is not None


def test_a_module_imports_downwards_only(source: Path, tree: ast.Module) -> None:
    own = layer_of(name_of(source))

    upwards = [name for name in imports_of(tree) if own is not None and (layer_of(name) or 0) > own]

    assert upwards == []


def test_a_role_never_imports_another(source: Path, tree: ast.Module) -> None:
    me = name_of(source)

    other_roles = tuple(f"{role}." for role in ROLES if role != me)
    others = [name for name in imports_of(tree) if me in ROLES and name.startswith(other_roles)]

    assert others == []


def test_nothing_is_imported_inside_a_function(tree: ast.Module) -> None:
    hidden = [
        node.lineno
        for function in functions_of(tree)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]

    assert hidden == []


def test_time_chance_and_processes_come_from_the_world(source: Path) -> None:
    if str(source.relative_to(ROOT)) in MAY_ASK:
        return

    asked = CLOCKS_AND_DICE.findall(source.read_text("utf-8"))

    assert asked == []


def test_the_environment_is_read_at_the_composition_root_only(source: Path) -> None:
    if source.name in ("__main__.py", "executor.py", "surroundings.py"):  # the executor cleans what its tasks see
        return
    if str(source.relative_to(ROOT)) == "engine/client/default.py":  # the client lives in programs that are not ours
        return

    assert "os.environ" not in source.read_text("utf-8")


def test_sizes_stay_readable(source: Path, tree: ast.Module) -> None:
    lines = source.read_text("utf-8").split("\n")

    long_lines = [number for number, line in enumerate(lines, 1) if len(line) > MAX_LINE_CHARS]
    long_functions = [
        function.name for function in functions_of(tree) if (function.end_lineno or 0) - function.lineno >= MAX_FUNCTION_LINES
    ]

    assert (long_lines, long_functions, len(lines) <= MAX_FILE_LINES) == ([], [], True)


def test_a_module_says_what_it_owns(source: Path, tree: ast.Module) -> None:
    assert ast.get_docstring(tree) or not source.read_text("utf-8").strip()


def test_names_say_what_is_done(tree: ast.Module) -> None:
    named = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)]

    assert [name for name in named if BANNED.search(name) and name not in GUNICORN_HOOKS] == []


def test_a_status_is_never_a_bare_string(source: Path, tree: ast.Module) -> None:
    words = {"pending", "claimed", "queued", "completed", "cancelled"}
    bare = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        for side in (node.left, *node.comparators)
        if isinstance(side, ast.Constant) and side.value in words
    ]

    assert bare == []


def test_the_tests_that_the_docs_name_are_there() -> None:
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = {name for path in (ROOT / "docs").glob("*.md") for name in re.findall(r"`(test_\w+)`", path.read_text("utf-8"))}

    assert [name for name in sorted(named) if f"def {name}(" not in tests] == []
    assert named


def test_the_readme_lists_every_setting_as_it_is() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")

    missing = [setting.name for setting in SETTINGS if f"| `{setting.name}` |" not in readme or setting.meaning not in readme]

    assert missing == []
