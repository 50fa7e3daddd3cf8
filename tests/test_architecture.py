"""The house keeps its shape: who may import whom, and how long things may grow (design, section 9)."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "coworker"
FILES = sorted(PACKAGE.rglob("*.py"))
LAYERS = (  # from the top; imports point down, or stay within their package
    ("__main__",),
    ("cli",),
    ("demo", "doctor"),
    ("master", "civiserver", "child", "claims", "ipc", "queues"),
    ("civi",),
    ("unix", "wire", "policy"),
    ("config",),
    ("model", "log", "version"),
    ("errors", "__init__"),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
# Functions and files may be longer where they read better so; each with its reason.
LONG_FUNCTIONS: dict[str, str] = {}
LONG_FILES: dict[str, str] = {
    "ipc/messages.py": "one list of all that master and children say to each other (design, section 2)",
}
UNKNOWN_TO_POLICY = {"os", "time", "socket", "signal", "logging", "subprocess", "select", "threading"}
LIGHT = {"cli/pipe.py", "queues", "civiserver"}  # started for every worker


def package_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path):
    """(name, line) of every module imported, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def ours(path):
    for name, line in imported(path):
        if name.startswith("coworker."):
            package = name.split(".")[1]
            if package in RANK:
                yield package, line


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = package_of(path)
    assert here in RANK, f"{here} has no place in the house: give it one in LAYERS"
    for package, line in ours(path):
        assert package == here or RANK[package] >= RANK[here], f"{path}:{line}: {here} imports {package}"


@pytest.mark.parametrize("name", ["policy", "wire", "unix"])
def test_the_lowest_rooms_do_not_know_each_other(name):
    for path in (PACKAGE / name).rglob("*.py"):
        others = {package for package, _ in ours(path)} & ({"policy", "wire", "unix"} - {name})
        assert not others, f"{path} imports {others}"


def test_queues_know_nothing_of_the_site_that_serves_them():
    for path in (PACKAGE / "queues").rglob("*.py"):
        assert "civiserver" not in {package for package, _ in ours(path)}, path


def test_policy_knows_neither_clock_nor_system():
    for path in (PACKAGE / "policy").rglob("*.py"):
        roots = {name.split(".")[0] for name, _ in imported(path)}
        assert not roots & UNKNOWN_TO_POLICY, f"{path} imports {roots & UNKNOWN_TO_POLICY}"


def test_the_python_site_stays_light():
    heavy = {"structlog", "psutil", "rich", "setproctitle", "asyncio", "multiprocessing"}
    for path in FILES:
        relative = str(path.relative_to(PACKAGE))
        if any(relative == light or relative.startswith(f"{light}/") for light in LIGHT):
            roots = {name.split(".")[0] for name, _ in imported(path)}
            assert not roots & heavy, f"{path} imports {roots & heavy}"


def test_the_master_has_no_threads_and_no_asyncio():
    for name in ("master", "child", "claims", "ipc", "unix", "civi"):
        for path in (PACKAGE / name).rglob("*.py"):
            roots = {module.split(".")[0] for module, _ in imported(path)}
            assert not roots & {"asyncio", "concurrent", "multiprocessing"}, path


def functions(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            # Options and help texts of commands are declarations: the statements count.
            statements = node.body[1:] if ast.get_docstring(node) else node.body
            first = statements[0].lineno if statements else node.end_lineno
            yield f"{path.relative_to(PACKAGE)}:{node.name}", node.end_lineno - first + 1


def test_functions_are_short():
    long = {name: n for path in FILES for name, n in functions(path) if n > 40 and name not in LONG_FUNCTIONS}
    assert not long


def test_files_are_short():
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in FILES}
    assert not {name: n for name, n in lengths.items() if n > 400 and name not in LONG_FILES}


def test_the_exceptions_are_still_needed():
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in FILES}
    assert all(lengths[name] > 400 for name in LONG_FILES)
    long = dict(pair for path in FILES for pair in functions(path))
    assert all(long[name] > 40 for name in LONG_FUNCTIONS)
