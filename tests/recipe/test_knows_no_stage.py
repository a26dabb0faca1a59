"""recipe/ and runs/ use no stage by its name: a new stage needs no change there."""

import ast

import pytest

from hfllm.stages import find_stages
from test_imports import SRC, imports

FILES = sorted([*(SRC / "recipe").glob("*.py"), *(SRC / "runs").glob("*.py")])
# The names of methods that people look for stand in recipe/load.py, whether a stage has one or not.
METHODS = "METHODS"
# "tokenizer" is also a kind of artifact, and the step that training falls back on: one constant.
ALLOWED = {("recipe/stage.py", "tokenizer")}


def docstrings(tree: ast.AST) -> set[int]:
    """The ids of the constants that are docstrings."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, kinds) and node.body]
    return {id(body[0].value) for body in bodies if isinstance(body[0], ast.Expr)}


def methods(tree: ast.AST) -> set[int]:
    """The ids of the constants in the tuple METHODS."""
    found = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == [METHODS]
    ]
    return {id(node) for value in found for node in ast.walk(value)}


def named(tree: ast.AST, names: set[str]) -> list[tuple[int, str]]:
    """(line, constant) of every string constant that is one of the names."""
    left_out = docstrings(tree) | methods(tree)
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in names and id(node) not in left_out
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SRC).as_posix())
def test_no_stage_is_known_by_name(path):
    place, tree = path.relative_to(SRC).as_posix(), ast.parse(path.read_text(encoding="utf-8"))
    found = [item for item in named(tree, set(find_stages())) if (place, item[1]) not in ALLOWED]
    assert not found, f"{place}: names a stage; let the stage say it (recipe/stage.py: Stage)"
    assert not [name for name, *_ in imports(tree) if name.startswith("hfllm.stages")]


def test_the_one_exception_is_one_constant():
    tree = ast.parse((SRC / "recipe" / "stage.py").read_text(encoding="utf-8"))
    assert len(named(tree, set(find_stages()))) == 1


def test_the_check_finds_a_name_and_leaves_docstrings_and_methods_out():
    code = '"""sft"""\nclass A:\n    "sft"\n    b = f"{x}sft", {"sft": 1}, "sft and"'
    tree = ast.parse(f'{code}\nMETHODS = ("sft", "dpo")')
    assert [value for _, value in named(tree, {"sft"})] == ["sft", "sft"]
