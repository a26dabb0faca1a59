"""What the stages on rollouts share (ppo, grpo, rloo): their keys, checks, models, prompts, texts.

A recipe moves between them by the stage's name and the keys of its trainer. In order: `check` and
`first_rows` before a run; `prepare` builds policy, reward functions and prompts; `key_figure` and
`sentence` tell of the scores.
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
from hfllm.recipe.stage import REWARD_MODEL, Figure, Rate, RowShape, model_ref
from hfllm.recipe.trainers import build_trainer_config
from hfllm.recipe.training import CONSOLE_HEAD, CONSOLE_TAIL, MILLIONS, TRL_DEFAULTS
from hfllm.report.collect import StepView
from hfllm.report.number_format import number, short
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest

if TYPE_CHECKING:
    from datasets import Dataset

SCORES = ("objective/score", "reward")
DEFAULTS = TRL_DEFAULTS | {
    "learning_rate": (1e-4, MILLIONS),
    "per_device_train_batch_size": (32, "one micro-batch per optimizer step on a CPU"),
    "max_completion_length": (64, "answers are short"),
    "save_steps": (64, "the rollout is in the checkpoint, so any step can be resumed"),
}
ELSEWHERE = {
    "model_init_kwargs": "the policy is loaded from `init`: set attn_implementation or peft",
    "trust_remote_code": "models with code of their own are not supported",
}
RATES = (Rate(5e8, 1e-5, 1e-4), Rate(3e9, 3e-6, 3e-5), Rate(1e13, 1e-6, 1e-5))


def console(*shown: str) -> tuple[str, ...]:
    """The metrics of a progress line, with `shown` in the middle."""
    return (*CONSOLE_HEAD, "reward", "judge/relevance", *shown, *CONSOLE_TAIL)


@dataclass
class RolloutConfig(TrainConfig):
    """Keys of a step that samples answers and is paid for them."""

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


def row_shape(spec: StepSpec, copies: int, together: int = 1) -> RowShape | None:
    """A prompt and its answer with logits; None if its length is refused.

    Args:
        spec: the step.
        copies: trained models that the row passes through.
        together: answers to a prompt, which share an optimizer step.
    """
    config: RolloutConfig = spec.config
    values = spec.stage.default_values() | config.trainer
    answer = values["max_completion_length"]
    if not isinstance(answer, int):
        return None
    reference = not config.peft and values.get("beta") != 0
    return RowShape(
        tokens=config.data.max_prompt_tokens + answer,
        scored=answer,
        fused=True,
        copies=copies,
        frozen=sum(map(bool, (config.reward, config.judge, reference))),
        reference=int(reference),
        uncounted="sampling and scoring the answers",
        answer=answer,
        together=together,
    )


def first_rows(step: Step) -> Iterator[str]:
    """Rows that are no prompts; reward functions that cannot be called; a wrong adapter."""
    from hfllm.rl.reward_function_problems import function_problems
    from hfllm.training.row_problems import prompt_problems

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
    scores = first_and_last(view)
    if scores is None:
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


@dataclass(frozen=True)
class Prepared:
    """What a trainer on rollouts is built from, and sizes for the count of FLOPs."""

    args: Any  # the trainer's config
    tokenizer: Any
    ends: list[int]  # token ids that end a turn
    policy: Any
    adapter: Any  # a LoraConfig, or None
    rewards: list[Any]  # the reward model first, if there is one
    scorer: Any  # the reward model, or None
    prompts: Dataset
    policy_size: int  # `matmul_parameters`
    judge_size: int  # of the models that score

    def passes(self) -> dict[str, float]:
        """How often each prompt is answered."""
        from hfllm.rl.rollout_prompts import passes
        from hfllm.training.resume import rows_per_step

        rows = rows_per_step(self.args)
        return {"the prompts": passes(self.args, len(self.prompts), rows)}


def prepare(config: RolloutConfig, step: Step, manifest: Manifest) -> Prepared:
    """Load policy, tokenizer, reward functions and prompts; the ledger goes into the manifest."""
    from transformers import AutoModelForCausalLM

    from hfllm.data.ledger import Ledger
    from hfllm.modeling.flops import matmul_parameters
    from hfllm.rl import rollout_prompts
    from hfllm.rl.build_rewards import build_reward_functions
    from hfllm.rl.rewards import load_reward_model
    from hfllm.training import load

    args = build_trainer_config(step.spec, step.seed, str(step.checkpoints))
    tokenizer = load.load_tokenizer(step, manifest.notes)
    load.refuse_new_tokens(step, tokenizer)
    tokenizer.padding_side = "left"  # for generation; the saved tokenizer keeps its own setting
    policy = load.load_init(step, AutoModelForCausalLM, tokenizer)
    ends = load.end_ids(tokenizer, chat=True)
    policy.generation_config.eos_token_id = ends
    size = matmul_parameters(policy)
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
    adapter = load.peft_config(step, "CAUSAL_LM", policy, tokenizer)
    rows = rollout_prompts.prompt_dataset(prompts)
    return Prepared(args, tokenizer, ends, policy, adapter, rewards, scorer, rows, size, judge_size)
