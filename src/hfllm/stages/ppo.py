"""PPO: hfllm.rl's PPOTrainer (on trl's GRPOTrainer) with a reward model and/or reward functions.

Schulman et al. 2017, arXiv:1707.06347. The critic starts from the reward model, as in InstructGPT
(Ouyang et al. 2022, arXiv:2203.02155), which predicts the score of an answer; without one from the
policy; with `trainer.shared_critic` it is a linear head on the policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from hfllm.recipe.checks import check_answer_length, check_reward_keys
from hfllm.recipe.config import PromptDataConfig, TrainConfig
from hfllm.recipe.ranges import AT_LEAST_1, NOT_NEGATIVE, within
from hfllm.recipe.recipe import StepSpec
from hfllm.recipe.stage import (
    LANGUAGE_MODEL,
    REWARD_MODEL,
    Figure,
    Rate,
    RowShape,
    Stage,
    model_ref,
)  # fmt: skip
from hfllm.recipe.trainers import build_trainer_config
from hfllm.recipe.training import (
    CONSOLE_HEAD,
    CONSOLE_TAIL,
    ENTROPY,
    MILLIONS,
    TRAINER_CHARTS,
    TRAINER_UNCHARTED,
    TRL_DEFAULTS,
)
from hfllm.report.collect import StepView
from hfllm.report.number_format import number, short
from hfllm.rl.charts import PPO_CHARTS, PPO_UNCHARTED
from hfllm.rl.ppo_keys import RANGES
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest
from hfllm.runs.processes import is_main_process

if TYPE_CHECKING:
    from hfllm.rl.ppo_trainer import PPOTrainer
    from hfllm.training.fit import TrainingInfo

SCORES = ("objective/score", "reward")


@dataclass
class Config(TrainConfig):
    """Reinforcement learning with PPO on a reward model and/or reward functions."""

    init: str | None = model_ref("sft", required=True)
    # the reward model; default: the step `reward`, or none where there are reward functions alone
    reward: str | None = model_ref("reward", makes=REWARD_MODEL, instead="reward_functions")
    reward_functions: list[str] = field(default_factory=list)  # "package.module:function"
    # a chat model that weights the functions' scores by the answer's relevance to the question
    judge: str | None = model_ref()
    # relevance with weight 1; default: 14; 0: log it only
    judge_nats: float | None = within(NOT_NEGATIVE, None)
    # tokens; the functions' scores of shorter answers are reduced
    length_floor: int | None = within(AT_LEAST_1, None)
    data: PromptDataConfig = field(default_factory=PromptDataConfig)


def check(spec: StepSpec) -> Iterator[str]:
    """Keys of the judge and the length floor without reward functions; answers without an end."""
    yield from check_reward_keys(spec)
    yield from check_answer_length(spec)


def row(spec: StepSpec) -> RowShape | None:
    """A prompt and its answer with logits, in policy and critic; None if its length is refused."""
    config: Config = spec.config
    values = spec.stage.default_values() | config.trainer
    if not isinstance(answer := values["max_completion_length"], int):
        return None
    reference = not config.peft and values.get("beta") != 0
    return RowShape(
        tokens=config.data.max_prompt_tokens + answer,
        scored=answer,
        fused=True,
        copies=1 if values.get("shared_critic") else 2,
        frozen=sum(map(bool, (config.reward, config.judge, reference))),
        reference=int(reference),
        uncounted="sampling and scoring the answers",
        answer=answer,
    )


def first_rows(step: Step) -> Iterator[str]:
    """Rows that are no prompts; reward functions that cannot be called; a wrong adapter."""
    from hfllm.rl.first_rows import function_problems
    from hfllm.training.first_rows import prompt_problems

    found: dict[str, list[Any]] = {}
    yield from prompt_problems(step, {"data.mixture": "prompts"}, found)
    columns = {column for rows in found.values() for row in rows for column in row}
    config = step.spec.config
    changed = bool(config.judge or config.length_floor)
    yield from function_problems(config.reward_functions, sorted(columns), changed)


def key_figure(view: StepView) -> Figure | tuple[()]:
    """Mean score of the answers in the last tenth of the log."""
    scores = first_and_last(view)
    return (short(scores[1]), "score of answers") if scores else ()


def sentence(view: StepView) -> str:
    """The score of the answers at the beginning and at the end of training."""
    if (scores := first_and_last(view)) is None:
        return ""
    first, last = map(short, scores)
    where = f"from {first} in the first tenth of the log to {last} in the last"
    return f"In {view.name}, the score of its answers went {where}."


def first_and_last(view: StepView) -> tuple[float, float] | None:
    """Mean score of the answers in the first and in the last tenth of the log, or None."""
    for key in SCORES:
        scores = [row[key] for row in view.metrics if number(row.get(key)) is not None]
        if len(scores) > 1:
            tenth = max(1, len(scores) // 10)
            return fmean(scores[:tenth]), fmean(scores[-tenth:])
    return None


STAGE = Stage(
    config=Config,
    trainer="hfllm.rl.ppo_config:PPOConfig",
    makes=LANGUAGE_MODEL,
    method="PPO (Schulman et al. 2017, arXiv:1707.06347) with a critic and a KL in the reward "
    "(Ouyang et al. 2022, arXiv:2203.02155), on trl's GRPOTrainer.",
    defaults=TRL_DEFAULTS
    | {
        "learning_rate": (1e-4, MILLIONS),
        "per_device_train_batch_size": (32, "one micro-batch per optimizer step on a CPU"),
        "max_completion_length": (64, "answers are short"),
        "save_steps": (64, "the rollout is in the checkpoint, so any step can be resumed"),
    },
    set_elsewhere={
        "informed_critic": "it is called privileged_critic now",
        "model_init_kwargs": "the policy is loaded from `init`: set attn_implementation or peft",
        "trust_remote_code": "models with code of their own are not supported",
    },
    ranges=RANGES,
    check=check,
    first_rows=first_rows,
    row=row,
    rates=(Rate(5e8, 1e-5, 1e-4), Rate(3e9, 3e-6, 3e-5), Rate(1e13, 1e-6, 1e-5)),
    console=(
        *CONSOLE_HEAD,
        "reward",
        "judge/relevance",
        "objective/kl",
        "completions/mean_length",
        "completions/ended",
        *CONSOLE_TAIL,
    ),
    charts=(*PPO_CHARTS, ENTROPY, *TRAINER_CHARTS),
    uncharted=(*TRAINER_UNCHARTED, *PPO_UNCHARTED),
    key_figure=key_figure,
    sentence=sentence,
)


def build(config: Config, step: Step, manifest: Manifest) -> tuple[PPOTrainer, TrainingInfo]:
    """Build the PPOTrainer: policy, reward functions, prompts, critic."""
    from transformers import AutoModelForCausalLM

    from hfllm.data.ledger import Ledger
    from hfllm.modeling.flops import matmul_parameters, ppo_flops_per_token
    from hfllm.rl import rollout_prompts
    from hfllm.rl.build_rewards import build_reward_functions
    from hfllm.rl.ppo_trainer import PPOTrainer
    from hfllm.rl.rewards import load_reward_model
    from hfllm.training.fit import TrainingInfo
    from hfllm.training.load import (
        end_ids,
        load_init,
        load_tokenizer,
        peft_config,
        refuse_new_tokens,
    )
    from hfllm.training.resume import rows_per_step

    args = build_trainer_config(step.spec, step.seed, str(step.checkpoints))
    tokenizer = load_tokenizer(step, manifest.notes)
    refuse_new_tokens(step, tokenizer)
    tokenizer.padding_side = "left"  # for generation; the saved tokenizer keeps its own setting
    policy = load_init(step, AutoModelForCausalLM, tokenizer)
    ends = end_ids(tokenizer, chat=True)
    policy.generation_config.eos_token_id = ends
    policy_size = matmul_parameters(policy)
    rewards, judge_size = build_reward_functions(config, step, args)
    scorer = None
    if config.reward:
        scorer = load_reward_model(step.model_of(config.reward))
        judge_size += matmul_parameters(scorer.model)
        rewards.insert(0, scorer)
    ledger = Ledger()
    prompts, longest = rollout_prompts.read_fitting_prompts(config.data, step, tokenizer, ledger)
    manifest.ledger = ledger.to_json()
    rollout_prompts.check_prompt_and_answer_fit(step, policy, longest, args.max_completion_length)
    trainer = PPOTrainer(
        model=policy,
        reward_funcs=rewards,
        args=args,
        critic=None if args.shared_critic else _critic(config, step, tokenizer, scorer, manifest),
        train_dataset=rollout_prompts.prompt_dataset(prompts),
        processing_class=tokenizer,
        peft_config=peft_config(step, "CAUSAL_LM", policy, tokenizer),
    )
    manifest.notes += trainer.notes
    trainer.notes = manifest.notes  # one list, so that notes made while training are recorded too
    sizes = (policy_size, matmul_parameters(trainer.model.get_submodule("critic")), judge_size)
    info = TrainingInfo(
        tokenizer=tokenizer,
        end_ids=ends,
        flops_per_token=ppo_flops_per_token(*sizes, epochs=args.num_iterations),
        passes={"the prompts": rollout_prompts.passes(args, len(prompts), rows_per_step(args))},
        extra={"prompts": len(prompts)},
    )
    return trainer, info


def _critic(config: Config, step: Step, tokenizer: Any, scorer: Any, manifest: Manifest) -> str:
    """The folder of the model that the critic starts from.

    The reward model if its tokenizer has every token of the policy under the same id, else `init`.
    """
    from hfllm.training.load import model_folder

    vocab = scorer.tokenizer.get_vocab() if scorer else {}
    if scorer and any(vocab.get(token) != i for token, i in tokenizer.get_vocab().items()):
        note = "the reward model has another vocabulary: the critic starts from `init` instead"
        manifest.notes.append(note)
        if is_main_process():
            print(f"{step.name}: {note}", flush=True)
        return model_folder(step, config.init or "")
    return model_folder(step, config.reward or config.init or "")
