"""The shape of the source: who imports whom, how long things are, what the docstrings promise."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import prctl
import pytest

from runengine import errors

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "runengine"
MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 500

LEAVES = {"errors", "ids", "paths", "config", "model", "linux", "__version__"}
MECHANISMS = {"oci_spec", "rootfs", "netns", "cgroups", "registry"}
BELOW_MANAGERS = MECHANISMS | {"store", "runtime", "monitor", "resolver"} | LEAVES
# What each part may import besides itself (DESIGN, packages).
ALLOWED: dict[str, set[str]] = {
    "cli": {"mgr", "Engine", "launcher"} | BELOW_MANAGERS,
    # The front runs the command line where there is no launcher; the launcher knows the front.
    "front": {"cli"},
    "launcher": {"mgr", "front"} | BELOW_MANAGERS,
    "api": {"mgr", "Engine"} | BELOW_MANAGERS,
    "mgr": BELOW_MANAGERS,
    "monitor": {"errors", "linux", "runtime"},
    "resolver": {"errors", "linux", "paths"},
    "linux": {"errors"},
    "config": {"errors", "ids", "linux", "paths", "settings"},
    "settings": {"errors"},
    "paths": {"errors", "ids"},
    "ids": {"errors"},
    "errors": set(),
    "model": set(),
} | dict.fromkeys(MECHANISMS | {"store", "runtime"}, LEAVES)
# Document models and the names of their types; nothing of what oci_spec does.
SHARED_DOCUMENTS = {"runengine.oci_spec.image", "runengine.oci_spec.media_types"}
# These parts of monitor/ run in the engine's process, not in the monitor's.
MONITOR_CLIENTS = {"client.py", "detach.py", "launch.py", "protocol.py"}
HEAVY = {"aiohttp", "asyncio", "dns", "oras", "psutil", "pydantic", "pyroute2", "requests"}


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imports(path: Path, *, top_level: bool = False) -> set[str]:
    """Modules that are imported when the code runs; ``top_level``: when it is imported."""
    found: set[str] = set()
    pending: list[ast.AST] = [tree(path)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {imported(node.module or "", alias.name) for alias in node.names}
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if not is_type_checking(node) and not (top_level and is_function):
            pending += ast.iter_child_nodes(node)
    return found


def imported(module: str, name: str) -> str:
    """``from a import b``: b may be a module, and the package's own names tell what is used."""
    target = ROOT.joinpath(*module.split("."), name)
    is_module = target.is_dir() or target.with_suffix(".py").is_file()
    own = module.split(".")[0] == "runengine"
    return f"{module}.{name}" if own and (is_module or module == "runengine") else module


def part(module: str) -> str:
    """``runengine.mgr.logs`` belongs to ``mgr``; the package itself is ``runengine``."""
    return module.split(".")[1] if "." in module else module


def own_imports(path: Path) -> set[str]:
    return {name for name in imports(path) if name.split(".")[0] == "runengine"}


def test_imports_point_downwards():
    wrong = {module_name(path): found for path in sources() if (found := imported_upwards(path))}
    assert not wrong, f"modules that may not import: {wrong}"


def imported_upwards(path: Path) -> set[str]:
    """What a module imports and may not."""
    me = part(module_name(path))
    if me == "runengine":
        return set()
    allowed = ALLOWED[me] | {me}
    return {
        name
        for name in own_imports(path)
        if part(name) not in allowed
        and not (me in ("registry", "rootfs") and name in SHARED_DOCUMENTS)
    }


def test_imports_have_no_cycle():
    """Imports inside functions count too: a cycle is a cycle, whenever it closes."""
    graph = {module_name(path): own_imports(path) - {module_name(path)} for path in sources()}
    left = set(graph)
    while True:
        needed = set().union(*(graph[name] & left for name in left))
        in_cycle = {name for name in left if name in needed and graph[name] & left}
        if in_cycle == left:
            break
        left = in_cycle
    assert not left, f"import cycle through {sorted(left)}"


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sources()
        if part(module_name(path)) in ("monitor", "linux", "runtime")
        and path.name not in MONITOR_CLIENTS
    ],
    ids=module_name,
)
def test_the_monitor_is_lean(path):
    """The monitor's process: the standard library, prctl, linux/, and what drives the runtime."""
    foreign = {
        name
        for name in imports(path)
        if name.split(".")[0] not in sys.stdlib_module_names | {"prctl", "runengine"}
    }
    assert not foreign
    # python -S has no site-packages, and these are big.
    assert not imports(path) & {"asyncio", "dataclasses", "logging", "pydantic"}
    if part(module_name(path)) == "monitor":
        assert {part(name) for name in own_imports(path)} <= {"monitor", "linux", "runtime"}


def test_sizes():
    paths = [*sources(), *sorted((ROOT / "tests").rglob("*.py"))]
    large = {module_name(path): found for path in paths if (found := too_large(path))}
    assert not large, f"lines of files and functions that have too many: {large}"


def too_large(path: Path) -> dict[str, int]:
    """Lines of the file, and of its functions by name, where they are too many."""
    lines = path.read_text(encoding="utf-8").count("\n")
    functions = (
        node
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    found = {
        node.name: (node.end_lineno or 0) - node.lineno + 1
        for node in functions
        if (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES
    }
    return found | ({path.name: lines} if lines > MAX_FILE_LINES else {})


def test_nothing_is_left_for_later():
    marks = re.compile(r"\b(TODO|FIXME|XXX)\b")
    left = [
        module_name(path) for path in sources() if marks.search(path.read_text(encoding="utf-8"))
    ]
    assert not left


def drawn_tree(text: str) -> dict[str, str]:
    """Child to parent, from the drawing in errors.py."""
    parents: dict[str, str] = {}
    stack: list[str] = []
    for line in text.splitlines():
        match = re.match(r"((?:│   |    )*)(?:├── |└── )?(\w+)\s{2,}\S", line)
        if not match:
            continue
        indent = line.index(match[2]) // 4
        del stack[indent:]
        parents[match[2]] = stack[-1] if stack else "Exception"
        stack.append(match[2])
    return parents


def test_the_exception_tree_is_drawn_as_it_is():
    real = {
        name: value.__base__.__name__
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.EngineError) and value.__base__
    }
    assert drawn_tree(errors.__doc__ or "") == real


@pytest.mark.parametrize("name", [name for name in vars(errors) if name[0].isupper()])
def test_the_drawing_tells_the_status(name):
    """Each line of the drawing names its HTTP status or its exit code rightly."""
    kind = getattr(errors, name)
    if not (isinstance(kind, type) and issubclass(kind, errors.EngineError)):
        return
    line = next(line for line in (errors.__doc__ or "").splitlines() if f"{name}  " in line)
    told = re.search(r"\((?:exit code )?(\d+)\)$", line)
    if told:
        expected = kind.exit_code if "exit code" in line else kind.http_status
        assert int(told[1]) == expected


COLD_PATHS = [
    "runengine.cli.main",
    "runengine.cli.run",
    "runengine.cli.ps",
    "runengine.cli.streams_commands",
    "runengine.cli.logs",
    "runengine.mgr.engine",
    "runengine.mgr.logs",
    "runengine.monitor.client",
]


@pytest.mark.side_effects
@pytest.mark.parametrize("module", COLD_PATHS)
def test_cold_paths_import_nothing_heavy(module):
    """A fresh interpreter: what is loaded once the module is."""
    script = f"import json, sys; import {module}; print(json.dumps(sorted(sys.modules)))"
    output = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert output.returncode == 0, output.stderr
    loaded = {name.split(".")[0] for name in json.loads(output.stdout)}
    assert not loaded & HEAVY


# Each is some hundred KiB of memory of every monitor that has no zygote to share it with.
DEAR_TO_MONITORS = {"collections", "contextlib", "enum", "functools", "json", "re", "signal",
                    "socket", "subprocess", "threading", "typing"}  # fmt: skip


@pytest.mark.side_effects
def test_monitors_import_next_to_nothing():
    folders = [str(ROOT), str(Path(prctl.__file__).parent)]
    loads = "import runengine.monitor.main, runengine.monitor.logs, runengine.monitor.pending"
    script = f"import sys; sys.path += {folders!r}; {loads}; print(*sys.modules)"
    # As boot.py is run: nothing that an interpreter loads for itself counts.
    output = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )
    assert not DEAR_TO_MONITORS.intersection(output.stdout.split())
