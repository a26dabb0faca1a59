"""`hfllm --help` and the checks of a recipe import none of the heavy libraries."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "trl", "datasets", "datatrove", "tokenizers", "peft", "pyarrow")
LOAD = (
    "from hfllm.recipe.load import load_recipe; from hfllm.stages import find_stages\n"
    "recipe = load_recipe('recipe.yaml', find_stages())"
)


@pytest.mark.parametrize(
    "code",
    [
        "from typer.testing import CliRunner; from hfllm.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0",
        LOAD,
        "from hfllm.stages import find_stages; stages = find_stages()\n"
        "assert len([stages[name] for name in stages]) >= 10",
        "import hfllm.runs.pipeline, hfllm.runs.status, hfllm.launch, hfllm.world.generate\n"
        "import hfllm.fast_cpu",
        f"{LOAD}\nfrom hfllm.runs.status import recipe_statuses; recipe_statuses(recipe)",
    ],
    ids=["help", "load", "stages", "import", "status"],
)
def test_heavy_libraries_stay_out(workspace, code):
    tail = f"import json, sys; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{tail}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_a_recipe_that_is_not_there_is_told_before_the_heavy_libraries(workspace):
    test_heavy_libraries_stay_out(
        workspace,
        "from typer.testing import CliRunner; from hfllm.cli import app\n"
        "assert CliRunner().invoke(app, ['show', 'nothere.yaml']).exit_code == 1",
    )
