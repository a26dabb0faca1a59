"""The room's rules, read from the source: which way imports run, and how long things may be."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "hfllm"
FILES = sorted(SRC.rglob("*.py"))

# A room may import itself and what stands before it. training and rl stand side by side; cli and
# launch stand above all.
ORDER = [
    {"recipe"},
    {"runs"},
    {"data"},
    {"world"},
    {"instructions"},
    {"tokenization"},
    {"modeling"},
    {"fast_cpu"},
    {"inference"},
    {"training", "rl", "serving"},
    {"planning"},
    {"evaluation"},
    {"report"},
    {"export"},
    {"stages"},
    {"verbs"},
    {"cli", "launch", "__init__"},
    {"__main__"},
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
# Checks before a run look ahead, inside functions, so that nothing is imported until they run.
LOOK_AHEAD = {("runs/preflight.py", "data"), ("runs/preflight.py", "modeling")}
# Which room may import a library whose upgrades break callers.
KEPT_TO = {"trl": {"stages", "rl", "training"}}

MAX_FILE, MAX_CLASS_FILE, MAX_FUNCTION, MAX_ARGUMENTS = 250, 450, 60, 6


def room_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[tuple[str, int, bool]]:
    """(module, line, whether only for type checkers) of every import, also inside functions."""
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((name.name, node.lineno, id(node) in typing_only) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield node.module or "", node.lineno, id(node) in typing_only


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return (node for node in ast.walk(tree) if isinstance(node, kinds))


def most_lines(tree: ast.Module) -> int:
    """A file that is one class, which reads from top to bottom, may be longer."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    here = [type(node) for node in tree.body if isinstance(node, kinds)]
    return MAX_CLASS_FILE if here == [ast.ClassDef] else MAX_FILE


@pytest.fixture(scope="module")
def modules() -> list[tuple[str, ast.Module, int]]:
    """(path below src/hfllm, its tree, its lines) of every module."""
    found = []
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        place = path.relative_to(SRC).as_posix()
        found.append((place, ast.parse(text, place), len(text.splitlines())))
    return found


def test_every_room_has_its_place_in_the_order():
    assert {room_of(path) for path in FILES} <= set(RANK)
    assert len(FILES) > 50


def test_imports_run_one_way(modules):
    wrong = []
    for place, tree, _ in modules:
        room = room_of(SRC / place)
        for name, line, typing_only in imports(tree):
            top, *rest = name.split(".")
            if top != "hfllm" or not rest or typing_only or (place, rest[0]) in LOOK_AHEAD:
                continue
            if rest[0] != room and RANK[rest[0]] >= RANK[room]:
                wrong.append(f"{place}:{line}: {room} may not import {rest[0]}")
    assert not wrong


def test_looking_ahead_is_done_inside_functions(modules):
    """At the top of a module it would be an import like any other."""
    for place, tree, _ in modules:
        for node in tree.body:
            for name, _, typing_only in (
                imports(node) if not isinstance(node, ast.FunctionDef) else ()
            ):
                room = name.removeprefix("hfllm.").split(".")[0]
                assert typing_only or (place, room) not in LOOK_AHEAD


def test_libraries_that_break_callers_are_kept_to_their_rooms(modules):
    wrong = [
        f"{place}:{line}: {name}"
        for place, tree, _ in modules
        for name, line, _ in imports(tree)
        if room_of(SRC / place) not in KEPT_TO.get(name.split(".")[0], {room_of(SRC / place)})
    ]
    assert not wrong


def test_nothing_is_too_long(modules):
    wrong = [f"{place}: {n} lines" for place, tree, n in modules if n > most_lines(tree)]
    for place, tree, _ in modules:
        for node in functions(tree):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION:
                wrong.append(f"{place}:{node.lineno}: {node.name} has {length} lines")
    assert not wrong


def is_option(argument: ast.arg) -> bool:
    """Whether an argument is an option of the command line: its user's, not a caller's."""
    return argument.annotation is not None and "typer." in ast.unparse(argument.annotation)


def test_no_function_takes_too_many_arguments(modules):
    wrong = []
    for place, tree, _ in modules:
        for node in functions(tree):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            names = [a.arg for a in arguments if a.arg not in ("self", "cls") and not is_option(a)]
            if len(names) > MAX_ARGUMENTS:
                wrong.append(f"{place}:{node.lineno}: {node.name}({', '.join(names)})")
    assert not wrong


def test_no_two_test_files_have_one_name():
    """Pytest imports a test file by its name alone, and fails at the second one of a worker."""
    names = [path.name for path in Path(__file__).parent.rglob("*.py")]
    assert {name for name in names if names.count(name) > 1} <= {"conftest.py"}


def test_there_is_no_drawer_for_everything():
    drawers = ("utils", "util", "helpers", "misc", "common")
    assert not [path for path in FILES if path.stem in drawers]


def test_every_module_opens_with_what_it_does(modules):
    assert not [place for place, tree, _ in modules if not ast.get_docstring(tree)]
