"""`vars`: a value that a recipe uses more than once is written once."""

import pytest

from hfllm.recipe.errors import RecipeError
from tiny import load_recipe

RECIPE = """
vars: {data: ../data, titles: ["a*", b]}
curate:
  sources: [{path: "${vars.data}/books.parquet", where: {id: "${vars.titles}"}}]
"""


def test_vars_are_filled_in_and_overridden(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)
    source = load_recipe(path).steps["curate"].config.sources[0]
    assert (source.path, source.where) == ("../data/books.parquet", {"id": ["a*", "b"]})
    moved = load_recipe(path, ["vars.data=/mnt/x"])
    assert moved.steps["curate"].config.sources[0].path == "/mnt/x/books.parquet"
    assert list(moved.steps) == ["curate"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("vars: 3\ntokenizer: {}", "vars: must be a mapping"),
        (
            "vars: {a: 1}\ntokenizer: {vocab_size: '${vars.b}'}",
            "Interpolation key 'vars.b' not fou",
        ),
        ("var: {a: 1}\ntokenizer: {}", "var: 'var' is not a stage. Did you mean: 'vars'?"),
    ],
)
def test_mistakes_in_vars_are_told(tmp_path, text, problem):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=problem):
        load_recipe(path)
