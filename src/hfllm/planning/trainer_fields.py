"""The keys of a `trainer:` section and their library defaults, read from the class's source.

Importing the libraries takes seconds (torch); a plan of a recipe takes one. So the dataclass that a
stage names ("trl:SFTConfig") and its bases are parsed instead, with Python's own parser: names of
fields, and defaults that are plain values. None where the source is not found so: then the class is
imported. A test compares both ways for every stage.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

UNREADABLE = object()  # the default of a field that is computed
PLACES = ("*args*.py", "trainer/*config*.py")  # below a package: where such classes are defined


def trainer_fields(trainer: str) -> dict[str, Any] | None:
    """{field: default or UNREADABLE} of a class "module:Class", or None if it is not found."""
    module, name = trainer.split(":")
    try:
        return _fields(module, name)
    except (OSError, SyntaxError, LookupError, ImportError, ValueError):
        return None


@lru_cache(maxsize=64)
def _fields(module: str, name: str) -> dict[str, Any]:
    tree = _defining(module, name)
    node = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    found: dict[str, Any] = {}
    for base in reversed(node.bases):  # the first one wins
        if isinstance(base, ast.Attribute):  # trl.GRPOConfig
            found |= _fields(ast.unparse(base.value), base.attr)
        if isinstance(base, ast.Name):
            local = any(isinstance(n, ast.ClassDef) and n.name == base.id for n in tree.body)
            found |= _fields(module if local else _imported_from(tree, base.id, module), base.id)
    for item in node.body:
        if not (isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)):
            continue
        if "ClassVar" not in ast.unparse(item.annotation):
            found[item.target.id] = _default(item.value)
    return found


def _defining(module: str, name: str) -> ast.Module:
    """The parsed file of a module or package that defines a class; LookupError if there is none."""
    spec = find_spec(module)
    if spec is None:
        raise LookupError(module)
    folders = [Path(place) for place in spec.submodule_search_locations or ()]
    files = [path for folder in folders for place in PLACES for path in folder.glob(place)]
    if spec.origin and not folders:
        files = [Path(spec.origin)]
    for file in files:
        text = file.read_text(encoding="utf-8")
        if f"class {name}(" in text or f"class {name}:" in text:
            return ast.parse(text)
    raise LookupError(f"{module}:{name}")


def _imported_from(tree: ast.Module, name: str, module: str) -> str:
    """The module that a file imports a name from; a relative one is the file's own package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            return module.split(".")[0] if node.level else str(node.module)
    raise LookupError(name)


def _default(value: ast.expr | None) -> Any:
    """The default of a field: a plain value, that of `field(default=...)`, else UNREADABLE."""
    if isinstance(value, ast.Call):
        named = [word.value for word in value.keywords if word.arg == "default"]
        value = named[0] if named else (value.args[0] if value.args else None)
    try:
        return UNREADABLE if value is None else ast.literal_eval(value)
    except ValueError:
        return UNREADABLE
