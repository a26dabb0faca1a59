"""Run steps of tiny recipes, by python or by torchrun on several processes.

run_steps.py straight|killed|resumed STEP FOLDER [STEP FOLDER ...]

`straight` and `resumed` run the recipe's step in its folder; `killed` ends it, like a crash, before
its optimizer step KILLED_AT, and fails if it ends otherwise.
"""

import os
import sys
from typing import Any

import torch
import transformers

from hfllm.launch import run_step
from hfllm.runs.layout import step_named
from hfllm.runs.processes import end_process_group, wait_for_all
from tiny import load_recipe

KILLED_AT = 4
train = transformers.Trainer.training_step


def killed(self: Any, *args: Any, **kwargs: Any) -> Any:
    if self.state.global_step == KILLED_AT - 1:
        raise KeyboardInterrupt
    return train(self, *args, **kwargs)


def main(how: str, *words: str) -> None:
    torch.set_num_threads(1)
    if how == "killed":
        transformers.Trainer.training_step = killed
    for name, folder in zip(words[::2], words[1::2], strict=True):
        os.chdir(folder)
        try:
            run_step(step_named(load_recipe("recipe.yaml"), name))
            assert how != "killed", name
        except KeyboardInterrupt:
            assert how == "killed", name
        wait_for_all()
    end_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
