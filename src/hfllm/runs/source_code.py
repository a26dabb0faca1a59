"""The user's own Python files that a step runs, as part of its fingerprint.

An edited reward function makes another model, so the step that calls it is stale. The files are
those of every "module:function" in the step's config and of its stage, where that is the user's,
and of the modules that they import, as far as these are the user's too: neither of the standard
library, nor installed (site-packages), nor hfllm's. They are found without being imported: imports
are read from the syntax tree, wherever they stand in a file. What a file reads when it runs (data,
`importlib.import_module`) is not seen.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import importlib.util
import re
import sys
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import hfllm
from hfllm.recipe.recipe import StepSpec

FUNCTION = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):[A-Za-z_][\w.]*")
LIBRARIES = [
    *(sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")),
    *map(str, hfllm.__path__),
]
INSTALLED = ("site-packages", "dist-packages")


def own_code(spec: StepSpec) -> dict[str, Path]:
    """{module: file} of the user's own code that a step runs."""
    return own_files([spec.stage.module, *functions_in(dataclasses.asdict(spec.config))])


def module_digests(spec: StepSpec) -> dict[str, str]:
    """{module: digest}: the same wherever the files lie."""
    return {module: _digest(file) for module, file in own_code(spec).items()}


def code_digests(spec: StepSpec) -> dict[str, str]:
    """{file: digest}, for a manifest; files below the working directory are relative."""
    return {_shown(file): _digest(file) for file in sorted(set(own_code(spec).values()))}


def functions_in(value: Any) -> Iterator[str]:
    """The modules of every text of the form "package.module:function", at any depth."""
    if isinstance(value, str):
        if match := FUNCTION.fullmatch(value):
            yield match[1]
    elif isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from functions_in(one)


def own_files(names: list[str]) -> dict[str, Path]:
    """{module: file} of modules and all that they import, as far as they are the user's."""
    found: dict[str, Path] = {}
    todo, seen = list(names), set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for module, file in _files_of(name):
            if module not in found:
                found[module] = file
                todo += _imported(module, file)
    return found


def _files_of(name: str) -> Iterator[tuple[str, Path]]:
    """(module, file) of a module and the packages around it, while they are the user's."""
    parts = name.split(".")
    folders = [Path(folder or ".") for folder in ("", *sys.path)]
    for depth, part in enumerate(parts, start=1):
        file, inside = _locate(part, folders)
        if file is None and not inside and depth == 1:
            file, inside = _locate_by_hook(part)
        if file is not None and _is_library(file):
            return
        if file is not None:
            yield ".".join(parts[:depth]), file
        folders = inside


def _locate(name: str, folders: list[Path]) -> tuple[Path | None, list[Path]]:
    """The file of a module in the first of the folders that has it, and its submodules' folders."""
    for folder in folders:
        package, module = folder / name / "__init__.py", folder / f"{name}.py"
        if package.is_file():
            return package, [package.parent]
        if module.is_file():
            return module, []
    return None, [folder / name for folder in folders if (folder / name).is_dir()]


def _locate_by_hook(name: str) -> tuple[Path | None, list[Path]]:
    """The same for a top-level module that only an import hook knows (an editable install)."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None, []
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None, []
    return Path(spec.origin), list(map(Path, spec.submodule_search_locations or ()))


def _is_library(file: Path) -> bool:
    path = file.resolve()
    return any(part in INSTALLED for part in path.parts) or any(
        path.is_relative_to(Path(folder).resolve()) for folder in LIBRARIES if folder
    )


def _imported(module: str, file: Path) -> list[str]:
    """Names of the modules that a file imports, its own relative ones resolved."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    out = []
    for level, name, names in _imports(file, *_state(file)):
        if level:
            above = package.split(".")
            base = ".".join(above[: len(above) - level + 1])
            if not base:  # above the top: Python refuses it too
                continue
            name = ".".join(part for part in (base, name) if part)
        out += [name, *(f"{name}.{one}" for one in names)]  # a name may be a submodule
    return out


@lru_cache(maxsize=1024)
def _imports(file: Path, size: int, mtime_ns: int) -> list[tuple[int, str, list[str]]]:
    """(dots, module, names) of every import in a file; none if it is no valid Python."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return []
    out: list[tuple[int, str, list[str]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            out += [(0, alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            out.append((node.level, node.module or "", [alias.name for alias in node.names]))
    return out


def _state(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def _shown(file: Path) -> str:
    path = file.resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def changed_code(before: dict[str, str], now: dict[str, str]) -> str | None:
    """One line on the files of code that differ, or None."""
    changes = [f"{file} changed" for file in now if before.get(file, now[file]) != now[file]]
    changes += [f"{file} is new" for file in now if file not in before]
    changes += [f"{file} is no longer imported" for file in before if file not in now]
    more = f"; {len(changes) - 3} more" if len(changes) > 3 else ""
    return f"its code: {'; '.join(changes[:3])}{more}" if changes else None
