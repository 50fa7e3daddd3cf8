"""The house keeps its shape: who may import whom, who may write what, and how long things may grow.

An import counts wherever it stands: in a function or under TYPE_CHECKING, too.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE, UNIT = ROOT / "coworker", ROOT / "tests" / "unit"
FILES = sorted(PACKAGE.rglob("*.py"))
LAYERS = (  # from the top; imports point down, or stay within their package
    ("__main__",),
    ("cli",),
    ("demo", "doctor"),
    ("master",),
    ("child", "civiserver"),
    ("claims", "queues"),
    ("ipc",),
    ("civi",),
    ("unix", "wire", "policy"),
    ("config",),
    ("model",),
    ("log", "version"),
    ("errors", "text", "__init__"),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
FORBIDDEN = (("child", "master"), ("policy", "master"), ("policy", "child"), ("queues", "civiserver"))
MOST_LINES, MOST_METHODS, LONGEST_FUNCTION = 400, 20, 40
# What may be longer because it reads better so; each with its reason.
LONG_FUNCTIONS: dict[str, str] = {}
LONG_CLASSES: dict[str, str] = {
    "civi/pipe.py:Pipe": "one process with its three streams and its end; a third are properties of a line",
}
LONG_FILES: dict[str, str] = {
    "ipc/messages.py": "one list of all that master and children say to each other",
}
# Who writes what: the parts of a record, what is known of a queue, and whether a site has to decide.
WRITERS = {
    "life": {"master/roster.py"},
    "work": {"master/dispatch.py"},
    "timing": {"master/deadlines.py"},
}
QUEUE_STATE_WRITERS = {"master/queue_states.py", "policy/scheduling.py"}
UNKNOWN_TO_POLICY = {"os", "time", "socket", "signal", "logging", "subprocess", "select", "threading"}
# Whose files have a unit test of their name each, and which of them only real processes can try.
TESTED = {"master", "child", "claims", "ipc", "policy", "wire", "log", "model", "text", "version"}
COVERED_ELSEWHERE = {
    "child/child.py": "tests/component/test_children.py",
    "child/connect.py": "tests/system/test_ways.py",
    "child/control.py": "tests/system/test_settling.py",
    "child/site_child.py": "tests/system/test_boot_failures.py",
    "child/worker.py": "tests/system/test_identities.py",
    "master/children.py": "tests/component/test_children.py",
    "master/daemon.py": "tests/system/test_start.py",
    "master/effects.py": "tests/system/test_signals.py",
    "master/master.py": "tests/system/test_signals.py",
}
TESTS_OF_SEVERAL = {  # unit tests that are named after no file, with the reason
    "civiserver/test_harm.py": "what the whole Python site lets a daemon do, as CiviCRM does",
    "config/test_problems.py": "every problem that a settings file can have, whichever file names it",
    "master/test_site_machine.py": "a state machine: a site, with any schedule of what may happen",
    "policy/test_settlement_machine.py": "a state machine: settling, with another daemon between its steps",
}
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
        assert package == here or RANK[package] > RANK[here], f"{path}:{line}: {here} imports {package}"


def name_of(path):
    """The module in this file."""
    return ".".join(("coworker", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def neighbours():
    """{module: the modules of ours that it imports}."""
    modules = {name_of(path): path for path in FILES}
    return {
        module: {name for name, _ in imported(path) if name in modules and name != module}
        for module, path in modules.items()
    }


def circles(graph):
    """The circles in a graph: groups of modules that reach each other."""

    def reach(start):
        seen, todo = set(), [start]
        while todo:
            fresh = graph[todo.pop()] - seen
            seen |= fresh
            todo += fresh
        return seen

    reached = {module: reach(module) for module in graph}
    within = {m: frozenset(o for o in reached[m] if m in reached[o]) for m in graph if m in reached[m]}
    return sorted(map(sorted, set(within.values())))


def test_no_files_import_each_other_in_a_circle():
    assert circles(neighbours()) == []


def test_a_circle_would_be_noticed():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


@pytest.mark.parametrize(("here", "there"), FORBIDDEN)
def test_who_must_not_know_whom(here, there):
    """Said once more by name, whatever the layers say."""
    for path in (PACKAGE / here).rglob("*.py"):
        lines = [line for package, line in ours(path) if package == there]
        assert not lines, f"{path}:{lines}: {here} imports {there}"


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


def classes():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                yield path, node


def methods(node):
    return sum(isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) for each in node.body)


def test_functions_are_short():
    lengths = dict(pair for path in FILES for pair in functions(path))
    assert not {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION and name not in LONG_FUNCTIONS}


def test_classes_do_not_do_too_much():
    many = {f"{path.relative_to(PACKAGE)}:{node.name}": methods(node) for path, node in classes()}
    assert not {name: n for name, n in many.items() if n > MOST_METHODS and name not in LONG_CLASSES}


def test_files_are_short():
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in FILES}
    assert not {name: n for name, n in lengths.items() if n > MOST_LINES and name not in LONG_FILES}


def test_the_exceptions_are_still_needed():
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in FILES}
    assert all(lengths[name] > MOST_LINES for name in LONG_FILES)
    long = dict(pair for path in FILES for pair in functions(path))
    assert all(long[name] > LONGEST_FUNCTION for name in LONG_FUNCTIONS)
    many = {f"{path.relative_to(PACKAGE)}:{node.name}": methods(node) for path, node in classes()}
    assert all(many[name] > MOST_METHODS for name in LONG_CLASSES)


def test_a_class_name_means_one_thing():
    where = {}
    for path, node in classes():
        where.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    assert not {name: paths for name, paths in where.items() if len(paths) > 1}


def assigned(tree):
    """(target, line) of every attribute that is set, also of one among several."""
    for node in ast.walk(tree):
        targets = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            for each in ast.walk(target):
                if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store):
                    yield each, node.lineno


def aliases(tree):
    """{name: part}: local names for a part of a record, as in `life = record.life`."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                names = target.elts if isinstance(target, ast.Tuple) else [target]
                values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
                for name, value in zip(names, values, strict=False):
                    if isinstance(name, ast.Name) and isinstance(value, ast.Attribute):
                        found[name.id] = value.attr
    return found


def written_parts(tree):
    """(part, line) wherever a field of a part of a record is set."""
    known = aliases(tree)
    for target, line in assigned(tree):
        owner = target.value
        part = owner.attr if isinstance(owner, ast.Attribute) else known.get(getattr(owner, "id", None))
        if part in WRITERS:
            yield part, line


def test_each_part_of_a_record_has_one_writer():
    for path in FILES:
        for part, line in written_parts(ast.parse(path.read_text())):
            where = str(path.relative_to(PACKAGE))
            assert where in WRITERS[part], f"{where}:{line} writes {part}"


def test_a_second_writer_would_be_noticed():
    text = "record.life.pid = 1\na, t = b, r.timing\nt.deadline, x = 1, 2\nrecord.work.done += 1\n"
    assert list(written_parts(ast.parse(text))) == [("life", 1), ("timing", 3), ("work", 4)]


def test_what_is_known_of_a_queue_changes_in_one_place():
    for path in FILES:
        where = str(path.relative_to(PACKAGE))
        if where.startswith(("master/", "policy/")) and where not in QUEUE_STATE_WRITERS:
            text = path.read_text()
            assert "state._replace(" not in text, where


def test_whether_to_decide_is_set_in_one_place():
    found = [
        f"{path.relative_to(PACKAGE)}:{node.name}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and any(target.attr == "dirty" for target, _ in assigned(node))
    ]
    assert found == [f"master/site.py:{name}" for name in ("__init__", "happened", "decide")]


# --- where the tests of a file are ---


def unit_test_of(name):
    """Where the unit test of this file of the package is, or would be."""
    path = UNIT / name
    return path.with_name(f"test_{path.name}")


def core_files():
    """All but the empty ones."""
    return [
        str(path.relative_to(PACKAGE))
        for path in FILES
        if package_of(path) in TESTED and path.name != "__init__.py"
    ]


@pytest.mark.parametrize("name", core_files())
def test_a_file_has_a_unit_test_of_its_name_or_is_known_to_be_tested_elsewhere(name):
    test, elsewhere = unit_test_of(name), COVERED_ELSEWHERE.get(name)
    if elsewhere is None:
        assert test.exists(), f"{name} has no {test.relative_to(ROOT)}"
    else:
        assert (ROOT / elsewhere).exists(), f"{name}: there is no {elsewhere}"
        assert not test.exists(), f"{name} has a unit test by now: it need not be in COVERED_ELSEWHERE"


def test_what_is_known_to_be_tested_elsewhere_is_still_there():
    assert set(COVERED_ELSEWHERE) <= set(core_files())


def test_a_unit_test_is_named_after_its_file():
    wanted = {unit_test_of(path.relative_to(PACKAGE)) for path in FILES}
    nameless = {str(path.relative_to(UNIT)) for path in UNIT.rglob("test_*.py") if path not in wanted}
    assert nameless == set(TESTS_OF_SEVERAL)
