"""PPO: our PPOTrainer (on trl's GRPOTrainer) against a reward model and/or reward functions.

The critic starts from the reward model, as in InstructGPT: it knows already what a good answer is
worth. Without a reward model it starts from the policy; with `trainer.shared_critic` it is a head
on the policy itself.
"""

from __future__ import annotations

from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM

from hfllm.data.ledger import Ledger
from hfllm.data.reading.examples import read_prompts
from hfllm.inference.prompts import positions
from hfllm.inference.relevance import ENOUGH, RelevanceJudge, open_judge
from hfllm.modeling.flops import matmul_parameters, ppo_flops_per_token
from hfllm.recipe.schema import PPOStageConfig
from hfllm.recipe.trainers import build_trainer_config
from hfllm.rl.ppo_trainer import PPOTrainer
from hfllm.rl.rewards import CountedByLength, CountedIfAnswer, load_functions, load_reward_model
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest
from hfllm.runs.processes import is_main_process, is_sharded
from hfllm.runs.record import recording
from hfllm.tokenization.loss_mask import render
from hfllm.training.fit import TrainingInfo, fit
from hfllm.training.load import (
    end_ids,
    load_init,
    load_tokenizer,
    model_folder,
    peft_config,
    refuse_new_tokens,
)


def run(config: PPOStageConfig, step: Step) -> None:
    """Build the trainer and fit it, recorded."""
    with recording(step, is_main_process()) as manifest:
        trainer, info = build(config, step, manifest)
        fit(trainer, step, manifest, info)


def build(
    config: PPOStageConfig, step: Step, manifest: Manifest
) -> tuple[PPOTrainer, TrainingInfo]:
    """The trainer, and what `fit` needs to know about it."""
    if not config.reward and not config.reward_functions:
        raise ValueError(f"{step.name}: set `reward:` (a step or folder) or `reward_functions:`")
    args = build_trainer_config(step.spec, step.seed, str(step.checkpoints))
    tokenizer = load_tokenizer(step, manifest.notes)
    refuse_new_tokens(step, tokenizer)
    tokenizer.padding_side = "left"  # generation; the folder keeps its own setting
    policy = load_init(step, AutoModelForCausalLM, tokenizer)
    ends = end_ids(tokenizer, chat=True)
    policy.generation_config.eos_token_id = ends
    policy_size = matmul_parameters(policy)
    rewards, judge_size = _functions(config, step, args)
    scorer = None
    if config.reward:
        scorer = load_reward_model(step.model_of(config.reward))
        judge_size += matmul_parameters(scorer.model)
        rewards.insert(0, scorer)
    ledger = Ledger()
    prompts, longest = _prompts(config, step, tokenizer, ledger)
    manifest.ledger = ledger.to_json()
    _check_positions(step, policy, longest, args.max_completion_length)
    trainer = PPOTrainer(
        model=policy,
        reward_funcs=rewards,
        args=args,
        critic=None if args.shared_critic else _critic(config, step, tokenizer, scorer, manifest),
        train_dataset=Dataset.from_list(same_columns(prompts)),
        processing_class=tokenizer,
        peft_config=peft_config(step, "CAUSAL_LM", policy, tokenizer),
    )
    manifest.notes += trainer.notes
    trainer.notes = manifest.notes  # what it notes while it trains stands there too
    sizes = (policy_size, matmul_parameters(trainer.model.get_submodule("critic")), judge_size)
    info = TrainingInfo(
        tokenizer=tokenizer,
        end_ids=ends,
        flops_per_token=ppo_flops_per_token(*sizes, epochs=args.num_iterations),
        extra={"prompts": len(prompts)},
    )
    return trainer, info


def _critic(
    config: PPOStageConfig, step: Step, tokenizer: Any, scorer: Any, manifest: Manifest
) -> str:
    """The folder that the critic starts from: the reward model's where it reads the same tokens."""
    theirs = scorer.tokenizer.get_vocab() if scorer else {}
    if scorer and any(theirs.get(token) != i for token, i in tokenizer.get_vocab().items()):
        note = "the reward model has another vocabulary: the critic starts from `init` instead"
        manifest.notes.append(note)
        if is_main_process():
            print(f"{step.name}: {note}", flush=True)
        return model_folder(step, config.init or "")
    return model_folder(step, config.reward or config.init or "")


def _functions(config: PPOStageConfig, step: Step, args: Any) -> tuple[list[Any], int]:
    """The reward functions, behind the judge and the floor where set, and the judge's size."""
    functions: list[Any] = list(load_functions(config.reward_functions))
    judge_size = 0
    if config.judge:
        judge = _judge(config, step, args)
        functions = [CountedIfAnswer(f, judge) for f in functions]
        # Two passes over each answer, with and without the question.
        judge_size = 2 * matmul_parameters(judge.model)
    if config.length_floor:
        functions = [CountedByLength(f, config.length_floor) for f in functions]
    return functions, judge_size


def _judge(config: PPOStageConfig, step: Step, args: Any) -> RelevanceJudge:
    """The judge of answers, opened; refused where it cannot judge what will be written."""
    if is_sharded(args) and getattr(args.deepspeed_plugin, "zero_stage", 3) == 3:
        raise ValueError(
            f"{step.name}.judge: each process asks it by itself, which a model in shards (ZeRO-3, "
            "FSDP) does not allow; use ddp, zero1 or zero2, or leave it out"
        )
    dtype = torch.bfloat16 if args.bf16 else None
    enough = ENOUGH if config.judge_nats is None else config.judge_nats
    judge = open_judge(step.model_of(config.judge or ""), enough, dtype)
    if (most := positions(judge.model)) <= args.max_completion_length:
        raise ValueError(
            f"{step.name}.judge: {config.judge} has {most} positions, too few for answers of "
            f"trainer.max_completion_length ({args.max_completion_length}) tokens; take another "
            "judge, or lower that"
        )
    return judge


def _check_positions(step: Step, policy: Any, longest: int, answer_tokens: int) -> None:
    """Refuse answers that would leave the positions that the policy was trained on."""
    most = positions(policy)
    if longest + answer_tokens > most:
        raise ValueError(
            f"{step.name}: the longest prompt ({longest} tokens) and "
            f"trainer.max_completion_length ({answer_tokens}) are beyond the model's {most} "
            "positions; lower data.max_prompt_tokens or trainer.max_completion_length"
        )


def same_columns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every column in every row, None where a source lacks it: datasets takes the first row's."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]


def _prompts(
    config: PPOStageConfig, step: Step, tokenizer: Any, ledger: Ledger
) -> tuple[list[dict[str, Any]], int]:
    """Prompts that fit, and the tokens of the longest of them.

    Longer ones are counted, never cut: a cut prompt is another question.
    """
    kept: list[dict[str, Any]] = []
    longest = 0
    for row in read_prompts(config.data.mixture, step.data_of, ledger):
        length = len(render(tokenizer, row["prompt"], add_generation_prompt=True).input_ids)
        if length > config.data.max_prompt_tokens:
            ledger.drop(row, "too_long", tokens=length)
            continue
        ledger.keep(row, tokens=length)
        kept.append(row)
        longest = max(longest, length)
    ledger.check()
    if not kept:
        raise ValueError(
            f"{step.name}: no prompt is within data.max_prompt_tokens "
            f"({config.data.max_prompt_tokens}): {ledger.reasons()}"
        )
    return kept, longest
