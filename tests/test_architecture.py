"""The rules of the code that a machine can check: who imports whom, sizes, names, who may ask the system for time and chance."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobyard.engine.config import SETTINGS

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(path for folder in ("engine", "api") for path in (ROOT / folder).rglob("*.py"))
ROLES = ("engine/scheduler", "engine/watcher", "engine/queue", "engine/worker")
USERS_SIDE = ("engine/template", "engine/executor")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
MAX_LINE_CHARS = 132
WAIT_LIMIT = re.compile(r"\b(?:within_s|timeout)=([0-9.]+)")
GROUND = "engine"
"""The files of this folder itself; they know nothing above them."""

CLOCKS_AND_DICE = re.compile(
    r"\b(time\.(time|time_ns|monotonic|sleep|perf_counter)|random\.\w+|uuid\.\w+|datetime\.(now|utcnow|today)"
    r"|os\.(fork|kill|killpg|urandom))\("
)
MAY_ASK = {"engine/world.py", "api/front/http_worker.py"}
"""`front.http_worker` hands gunicorn's own connections to gunicorn's own poller, which compares with `time.monotonic`."""

MAY_READ_ENVIRONMENT = {"engine/executor/child_environment.py", "engine/template/boot.py", "engine/client/environment.py"}
"""Besides the composition root: the executor, which cleans what its tasks see, and the client, which lives in others' programs."""

GUNICORN_HOOKS = {"handle_error", "handle_exit", "handle_request", "handle_quit", "handle_term", "manage_workers"}
BANNED = re.compile(r"^(handle|process|do|manage)_|Manager|Helper|utils", re.ASCII)

Arrows = dict[str, dict[str, list[str]]]
"""From folder to folder: which file imports which."""


def path_of(module: str) -> Path | None:
    """The file of one of our modules, as in `jobyard.engine.jobs.job`; None for anything else."""
    own, _, rest = module.partition(".")
    path = ROOT / f"{rest.replace('.', '/')}.py"
    return path if own == "jobyard" and path.is_file() else None


def imports_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def imported_files(tree: ast.AST) -> set[Path]:
    """Ours, whether a module or a name in it is imported."""
    found = (path_of(name) or path_of(name.rpartition(".")[0]) for name in imports_of(tree))
    return {path for path in found if path is not None}


def folder_of(path: Path) -> str:
    return str(path.relative_to(ROOT).parent)


def arrows() -> Arrows:
    """All imports between folders."""
    drawn: Arrows = {}
    for source in SOURCES:
        for target in imported_files(ast.parse(source.read_text("utf-8"))):
            if folder_of(source) != folder_of(target):
                towards = drawn.setdefault(folder_of(source), {}).setdefault(folder_of(target), [])
                towards.append(f"{source.relative_to(ROOT)} → {target.relative_to(ROOT)}")
    return drawn


def floors(drawn: Arrows) -> list[list[str]]:
    """The folders from the ground up, each above all that it imports; those that go round in circles are left out."""
    folders = {folder_of(source) for source in SOURCES}
    placed: list[list[str]] = []
    done: set[str] = set()
    while floor := sorted(folder for folder in folders - done if set(drawn.get(folder, {})) <= done):
        placed.append(floor)
        done |= set(floor)
    return placed


def map_of(drawn: Arrows) -> str:
    """The house, top floor first, for whoever has to mend it."""
    return "\n".join("  ".join(floor) for floor in reversed(floors(drawn)))


def functions_of(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.fixture(params=SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def source(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture
def tree(source: Path) -> ast.Module:
    return ast.parse(source.read_text("utf-8"))


def test_no_folder_imports_one_that_imports_it() -> None:
    drawn = arrows()

    placed = {folder for floor in floors(drawn) for folder in floor}
    circling = {folder: targets for folder, targets in drawn.items() if folder not in placed}
    back = {folder: {to: files for to, files in targets.items() if to not in placed} for folder, targets in circling.items()}

    assert not back, f"these import each other: {back}\n\nthe rest of the house:\n{map_of(drawn)}"


def test_no_file_imports_one_that_imports_it() -> None:
    waiting = {source: imported_files(ast.parse(source.read_text("utf-8"))) - {source} for source in SOURCES}
    while free := [source for source, targets in waiting.items() if not targets & waiting.keys()]:
        for source in free:
            del waiting[source]

    assert [str(source.relative_to(ROOT)) for source in waiting] == []


def test_the_ground_knows_nothing_above_it() -> None:
    assert arrows().get(GROUND, {}) == {}


def test_the_engine_never_imports_the_api() -> None:
    targets = {target for folder, targets in arrows().items() if folder.startswith("engine") for target in targets}

    assert [target for target in sorted(targets) if target.startswith("api")] == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_never_imports_another(role: str) -> None:
    assert set(arrows()[role]) & set(ROLES) == set()


@pytest.mark.parametrize("folder", USERS_SIDE)
def test_where_users_code_lives_no_role_is_known(folder: str) -> None:
    assert set(arrows().get(folder, {})) & {*ROLES, "engine/store", "engine/supervisor", "engine/hosts"} == set()


def test_a_folder_holds_its_story_and_no_code_in_its_init() -> None:
    told = {path: ast.parse(path.read_text("utf-8")) for path in SOURCES if path.name == "__init__.py"}

    assert [str(path.relative_to(ROOT)) for path, tree in told.items() if len(tree.body) != 1 or not ast.get_docstring(tree)] == []


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
    if str(source.relative_to(ROOT)) in MAY_READ_ENVIRONMENT:
        return

    assert "os.environ" not in source.read_text("utf-8")


def test_sizes_stay_readable(source: Path, tree: ast.Module) -> None:
    lines = source.read_text("utf-8").split("\n")

    long_lines = [number for number, line in enumerate(lines, 1) if len(line) > MAX_LINE_CHARS]
    long_functions = [
        function.name for function in functions_of(tree) if (function.end_lineno or 0) - function.lineno >= MAX_FUNCTION_LINES
    ]

    assert (long_lines, long_functions, len(lines) <= MAX_FILE_LINES) == ([], [], True)


def test_no_wait_of_a_test_has_a_limit_that_a_busy_machine_could_reach() -> None:
    tests = [path for path in (ROOT / "tests").rglob("*.py") if not {"bench", "simulation"} & set(path.parts)]

    short = [(path.name, limit) for path in tests for limit in WAIT_LIMIT.findall(path.read_text("utf-8")) if float(limit) < 60]

    assert short == []


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
