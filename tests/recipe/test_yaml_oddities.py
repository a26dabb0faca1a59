"""What YAML can hold besides a plain recipe: read rightly, or one line with the place."""

import pytest

from hfllm.recipe.errors import RecipeError
from hfllm.recipe.load import METHODS
from hfllm.stages import find_stages
from tiny import load_recipe

SFT = "init: a/b, data: {mixture: [{path: x}]}"
RIGHT = {
    "a byte-order mark": f"\ufeffsft: {{{SFT}}}",
    "anchors": f"vars: {{base: &b {{{SFT}}}}}\nsft: *b",
    "merge keys": f"vars: {{base: &b {{{SFT}}}}}\nsft: {{<<: *b}}",
    "windows line ends": f"name: x\r\nsft: {{{SFT}}}\r\n",
}
WRONG = {
    "tabs": ("sft:\n\tinit: x", "line 2: not valid YAML: the line is indented with a tab"),
    "a key twice": ("sft: {init: a/b}\nsft: {init: c/d}", "line 2: not valid YAML: found dup"),
    "an inner key twice": ("sft:\n  init: a/b\n  init: c/d", "line 3: not valid YAML: found dup"),
    "an empty file": ("", "no steps; add one of"),
    "a list": ("- a", "a recipe is a mapping of steps"),
    "a number": ("3", "a recipe is a mapping of steps"),
    "a control character": ('sft: {init: "a\x07b"}', "not valid YAML: unacceptable character"),
    "an empty key": ("~: {stage: sft}", "a key is empty or ~"),
    "an empty inner key": ("sft: {~: 3}", "sft: a key is empty or ~"),
    "a set": ("sft: !!set {a, b}", "sft: Value 'set' is not a supported"),
    "code": ("sft: !!python/object/apply:os.system [x]", "could not determine a constructor"),
    "half an interpolation": ("sft: {init: '${'}", "sft.init: "),
    "an unknown variable": ("sft: {init: '${vars.x}'}", "sft.init: Interpolation key 'vars.x'"),
    "an alias to itself": ("sft: &a {data: *a}", "recursive aliases"),
    "two documents": ("sft: {init: a/b}\n---\nsft: {init: a/b}", "found another document"),
    "a stage that is a list": ("x: {stage: [sft]}", "x: unknown stage ['sft']"),
    "a relative stage": ("x: {stage: ..sft}", "x: unknown stage '..sft'"),
}


@pytest.mark.parametrize("text", RIGHT.values(), ids=RIGHT)
def test_it_is_read_as_it_is_meant(tmp_path, text):
    (tmp_path / "r.yaml").write_bytes(text.encode())
    step = load_recipe(tmp_path / "r.yaml").steps["sft"]
    assert step.given == {"init": "a/b", "data": {"mixture": [{"path": "x"}]}}


@pytest.mark.parametrize("number", ["1e-3", "1E-3", "0.001", "1.0e-3"])
def test_a_number_in_scientific_notation_is_a_number(tmp_path, number):
    (tmp_path / "r.yaml").write_text(f"sft: {{{SFT}, trainer: {{learning_rate: {number}}}}}")
    assert load_recipe(tmp_path / "r.yaml").steps["sft"].config.trainer == {"learning_rate": 0.001}


@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG)
def test_it_is_one_line_with_the_place(tmp_path, text, expected):
    (tmp_path / "r.yaml").write_bytes(text.encode())
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "r.yaml")
    (line,) = str(caught.value).splitlines()
    assert expected in line


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_is_told(tmp_path, encoding):
    (tmp_path / "r.yaml").write_bytes("sft: {init: é/b}".encode(encoding))
    with pytest.raises(RecipeError, match="not UTF-8 .*; save the file as UTF-8"):
        load_recipe(tmp_path / "r.yaml")


NO_STAGE = [method for method in METHODS if method not in find_stages()]


@pytest.mark.parametrize("method", [*NO_STAGE, *map(str.upper, NO_STAGE[:1])])
def test_a_method_without_a_stage_is_no_typo_of_another(tmp_path, method):
    (tmp_path / "r.yaml").write_text(f"{method}: {{}}")
    with pytest.raises(RecipeError, match=f"hfllm has no stage for {method}") as caught:
        load_recipe(tmp_path / "r.yaml")
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", find_stages())
def test_a_stage_in_capitals_is_that_stage(tmp_path, name):
    (tmp_path / "r.yaml").write_text(f"{name.upper()}: {{}}")
    with pytest.raises(RecipeError, match=f"'{name.upper()}' is not a stage.*mean: '{name}'"):
        load_recipe(tmp_path / "r.yaml")


SOURCE = "sft: {{init: a/b, data: {{mixture: [{{path: x, {}}}]}}}}"
ODD = {"010": 8, "1.10": 1.1, "1:30": 90, "1_000": 1000, "0x1f": 31, "1e3": 1000.0, "+5": 5}


@pytest.mark.parametrize("number", ODD)
@pytest.mark.parametrize("column", ["d: {}", "d: [en, {}]", "&a d: {}"])
@pytest.mark.parametrize("key", ["where", "where_not"])
def test_a_number_to_compare_with_data_counts_as_it_is_spelled(tmp_path, key, column, number):
    """In the file and as an override: refused, but in quotes, or as the number that it is."""
    place = f"sft.data.mixture[0].{key}.d{'[1]' if '[' in column else ''}"
    line = (
        f"{place}: YAML reads {number} as the number {ODD[number]}; put it in quotes; or write "
        f"{ODD[number]}"
    )
    recipe = tmp_path / "r.yaml"
    given = f"{{{column.format(number)}}}"
    recipe.write_text(SOURCE.format("limit: 3"))
    for name in ("sft.data.mixture.0", "sft.data.mixture[0]"):
        with pytest.raises(RecipeError) as caught:
            load_recipe(recipe, [f"{name}.{key}={given}"])
        assert line in str(caught.value)
    recipe.write_text(SOURCE.format(f"{key}: {given}, limit: 010"))
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe)
    assert str(caught.value).count("\n") <= 1 and line in str(caught.value)
    for right, value in ((f"'{number}'", number), (str(ODD[number]), ODD[number])):
        recipe.write_text(SOURCE.format(f"{key}: {{{column.format(right)}}}, limit: 010"))
        (source,) = load_recipe(recipe).steps["sft"].config.data.mixture
        assert getattr(source, key)["d"] in (value, ["en", value]) and source.limit == 8
        load_recipe(recipe, ["sft.data.mixture.0.limit=0x10"])


WAYS = {  # to a number that is spelled 010
    "a variable": ("vars: {d: 010}", "where: {d: '${vars.d}'}", "where.d: YAML reads 010 as"),
    "a mapping": ("vars: {w: {d: 010}}", "where: '${vars.w}'", "where.d: YAML reads 010 as"),
    "an anchor": ("vars: {w: &w {d: 010}}", "where: *w", "where.d: YAML reads 010 as"),
    "a merge": ("vars: {w: &w {d: 010}}", "where: {<<: *w}", "where.d: YAML reads 010 as"),
    "a text": ("vars: {}", "subset: 1_0", "subset: YAML reads 1_0 as the number 10; put it in quo"),
    "texts": ("vars: {}", "ignore: [1.10]", "ignore[0]: YAML reads 1.10 as the number 1.1; put it"),
    "a name": ("name: 010", "limit: 3", "name: YAML reads 010 as the number 8; put it in quotes"),
    "a test": (
        "evaluate: {models: [sft], tasks: {t: {kind: ifeval, source: {path: x, where: {d: 010}}}}}",
        "limit: 3", "evaluate.tasks.t.source.where.d: YAML reads 010 as the number 8; put it in",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("top", "key", "expected"), WAYS.values(), ids=WAYS)
def test_a_text_is_not_read_as_another_number_on_any_way(tmp_path, top, key, expected):
    (tmp_path / "r.yaml").write_text(f"{top}\n{SOURCE.format(key)}")
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "r.yaml")
    assert expected in str(caught.value)
