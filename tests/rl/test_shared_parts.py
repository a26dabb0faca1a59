"""Prompts, rewards, judge and sampling can be used by GRPO and RLOO: they do not import PPO."""

import ast
from pathlib import Path

import pytest

import hfllm.rl

FOLDER = Path(hfllm.rl.__file__).parent
PPO_ONLY = {"ppo_trainer", "ppo_config", "critic", "privileged_critic"}


def imported_by(module: str) -> set[str]:
    """The modules of rl/ that a module imports, directly or through others of rl/."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        for node in ast.walk(ast.parse((FOLDER / f"{waiting.pop()}.py").read_text())):
            names = [f"{node.module}"] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                new = name.removeprefix("hfllm.rl.")
                if name.startswith("hfllm.rl.") and new not in found:
                    found.add(new)
                    waiting.append(new)
    return found


@pytest.mark.parametrize(
    "module",
    ["build_rewards", "rollout_prompts", "rewards", "guards", "meters", "prompt_sampler",
     "rollout_policy", "charts", "rollout_files", "rollout_keys", "group_rewards", "group_size"],
)  # fmt: skip
def test_what_other_trainers_share_does_not_import_ppo(module):
    assert not imported_by(module) & PPO_ONLY


def test_grpo_and_rloo_do_not_import_ppo():
    assert not imported_by("group_trainer") & {"ppo_trainer", "ppo_config", "ppo_keys", "rollout"}


def test_the_walk_sees_imports():
    assert imported_by("ppo_trainer") | {"ppo_trainer"} >= PPO_ONLY
