"""Sample: n answers of a model to each prompt, scored; the best as chats, the extremes as pairs.

Rejection sampling as data: `sft` on chats.jsonl is best-of-n fine-tuning (Llama 2, Touvron et al.
2023, arXiv:2307.09288; RAFT, Dong et al. 2023, arXiv:2304.06767), `dpo` on pairs.jsonl a preference
step on the model's own answers. Reward model, reward functions, judge and length floor are those of
PPO and GRPO, the sampling keys have the names of trl's GRPOConfig. It trains nothing and runs in
one process: to use several GPUs, give each a `sample` step with its part of the prompts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hfllm.recipe.checks import check_reward_keys
from hfllm.recipe.config import PromptDataConfig
from hfllm.recipe.ranges import (
    ABOVE_0,
    ABOVE_0_TO_1,
    ANY,
    AT_LEAST_1,
    NOT_NEGATIVE,
    SEED,
    SHARE,
    within,
)
from hfllm.recipe.recipe import StepSpec
from hfllm.recipe.stage import DATA, REWARD_MODEL, Chart, Figure, Stage, model_ref
from hfllm.report.collect import StepView
from hfllm.report.number_format import exact, short
from hfllm.runs.layout import Step
from hfllm.runs.manifest import Manifest, write_lines

if TYPE_CHECKING:
    from hfllm.inference.generate import Generator
    from hfllm.rl.best_answers import SampledAnswer
    from hfllm.rl.sampled_answers import Prompt, Sampled

Groups = list[list["SampledAnswer"]]
DTYPES = (None, "bfloat16", "float16")


@dataclass
class Config:
    """Sample answers to prompts, score them, keep the best."""

    model: str | None = model_ref("sft", required=True)  # the chat model that answers
    # the reward model; default: the step `reward`, or none where there are reward functions alone
    reward: str | None = model_ref("reward", makes=REWARD_MODEL, instead="reward_functions")
    reward_functions: list[str] = field(default_factory=list)  # "package.module:function"
    # one for each, the reward model's first; default: 1
    reward_weights: list[float] | None = within(ANY, None)
    # a chat model that weights the functions' scores by the answer's relevance to the question
    judge: str | None = model_ref()
    # relevance with weight 1; default: 14; 0: log it only
    judge_nats: float | None = within(NOT_NEGATIVE, None)
    # tokens; the functions' scores of shorter answers are reduced
    length_floor: int | None = within(AT_LEAST_1, None)
    data: PromptDataConfig = field(default_factory=PromptDataConfig)
    num_generations: int = within(AT_LEAST_1, 8)  # answers to a prompt
    max_completion_length: int = within(AT_LEAST_1, 256)  # tokens of an answer
    # of the sampling; lower ones give likelier answers that differ less
    temperature: float = within(ABOVE_0, 1.0)
    top_p: float = within(ABOVE_0_TO_1, 1.0)  # draw from the likeliest tokens of this share
    top_k: int = within(NOT_NEGATIVE, 0)  # draw from so many of the likeliest tokens; 0: all
    # leave out tokens less likely than this share of the likeliest one
    min_p: float | None = within(SHARE, None)
    seed: int | None = within(SEED, None)  # of the sampling; default: the recipe's
    min_score: float | None = within(ANY, None)  # of an answer that becomes a chat
    top: float = within(ABOVE_0_TO_1, 1.0)  # share of the prompts whose best answers become chats
    # least difference of the scores of a pair; answers of equal scores never make one
    min_margin: float = within(NOT_NEGATIVE, 0.0)
    # answers that were cut at max_completion_length may be in chats and pairs
    keep_unended: bool = False
    batch_size: int = within(AT_LEAST_1, 32)  # answers decoded together
    # bfloat16 or float16: the answers are sampled by a copy of the model in it
    generate_dtype: str | None = None


def check(spec: StepSpec) -> Iterator[str]:
    """Keys of the judge, the length floor and weights without rewards; the precision."""
    yield from check_reward_keys(spec)
    if spec.config.generate_dtype not in DTYPES:
        yield f"generate_dtype: '{spec.config.generate_dtype}'; use null, bfloat16 or float16"


def first_rows(step: Step) -> Iterator[str]:
    """Rows that are no prompts; reward functions that cannot be called with their columns."""
    from hfllm.data.reading.first_rows import first_rows as read
    from hfllm.rl.reward_function_problems import function_problems

    config: Config = step.spec.config
    found, problems = read(step, {"data.mixture": "prompts"})
    yield from problems
    columns = {column for rows in found.values() for row in rows for column in row}
    changed = bool(config.judge or config.length_floor)
    yield from function_problems(config.reward_functions, sorted(columns), changed)


def key_figure(view: StepView) -> Figure | tuple[()]:
    """The mean score of the best answers."""
    best, count = view.metric("score/best"), view.metric("answers_per_prompt")
    if best is None or count is None:
        return ()
    return short(best), f"score of the best of {exact(count)}"


def sentence(view: StepView) -> str:
    """Scores of one answer and of the best; how many prompts gave a chat and a pair."""
    names = ("score/mean", "score/best", "answers_per_prompt", "prompts", "chats", "pairs")
    mean, best, count, prompts, chats, pairs = (view.metric(name) for name in names)
    if mean is None or best is None:
        return ""
    return (
        f"In {view.name}, one answer scored {short(mean)} on average and the best of "
        f"{exact(count)} {short(best)}; {exact(prompts)} prompts gave {exact(chats)} chats and "
        f"{exact(pairs)} pairs."
    )


STAGE = Stage(
    config=Config,
    makes=DATA,
    check=check,
    first_rows=first_rows,
    charts=(
        Chart(
            "Score of the best of n",
            {"best_of/score": "mean", "best_of/low": "95% low", "best_of/high": "95% high"},
            "score",
            "The mean score of the best of n answers to a prompt, over every choice of n of those "
            "that were sampled, ended or not; where it flattens, more answers gain little.",
            better="up",
            x_unit="answers to a prompt",
        ),
    ),
    key_figure=key_figure,
    sentence=sentence,
)


def run(config: Config, step: Step, manifest: Manifest) -> None:
    """Write data/chats.jsonl, pairs.jsonl and samples.jsonl, and the scores by n."""
    from hfllm.rl.best_answers import Rules, chats, choose_answers, pairs, record, samples
    from hfllm.rl.sampled_answers import AnswersFile, sample_answers
    from hfllm.rl.score_answers import build_scorer

    generator, prompts = _prepare(config, step, manifest)
    scorer, judge_size = build_scorer(config, step, generator.model.device)
    file = AnswersFile(step.checkpoints / "checkpoint-answers" / "answers.jsonl")
    sampled = sample_answers(generator, prompts, _asked(config, step), scorer, file)
    rules = Rules(config.keep_unended, config.min_score, config.top, config.min_margin)
    chosen = choose_answers(sampled.groups, rules)
    _count(manifest, sampled, generator, judge_size)
    record(sampled.groups, chosen, step, manifest)
    _scores_by_n(step, manifest, sampled.groups)
    rows = [prompt.row for prompt in prompts]
    files = {
        "chats": chats(rows, sampled.groups, chosen),
        "pairs": pairs(rows, sampled.groups, chosen),
        "samples": samples(rows, sampled.groups, rules),
    }
    for name, found in files.items():
        write_lines(step.data / f"{name}.jsonl", found)
        manifest.metrics[f"rows/{name}.jsonl"] = len(found)
        print(f"  {name}.jsonl {len(found):>9,} rows", flush=True)


def _prepare(config: Config, step: Step, manifest: Manifest) -> tuple[Generator, list[Prompt]]:
    """Load the model and read the prompts; the ledger goes into the manifest."""
    import torch

    from hfllm.data.ledger import Ledger
    from hfllm.inference.generate import Generator
    from hfllm.inference.load import is_chat_model, load_model
    from hfllm.rl.rollout_prompts import check_prompt_and_answer_fit, read_fitting_prompts
    from hfllm.rl.sampled_answers import prompts_of

    place = step.model_of(config.model or "")
    model, tokenizer = load_model(place)
    if not (tokenizer.chat_template and is_chat_model(place)):
        raise ValueError(
            f"{step.name}.model: {config.model} takes no chats (no chat template, or a pretrain "
            "step): fine-tune it first, or name a chat model"
        )
    ledger = Ledger()
    rows, longest = read_fitting_prompts(config.data, step, tokenizer, ledger)
    manifest.ledger = ledger.to_json()
    most = config.max_completion_length
    check_prompt_and_answer_fit(step, model, longest, most, key="max_completion_length")
    dtype = getattr(torch, config.generate_dtype) if config.generate_dtype else None
    generator = Generator(model, tokenizer, config.batch_size, dtype)
    return generator, prompts_of(tokenizer, rows)


def _asked(config: Config, step: Step) -> Any:
    from hfllm.inference.sampling import Sampling
    from hfllm.rl.sampled_answers import Asked

    sampling = Sampling(config.temperature, config.top_p, config.top_k, config.min_p or 0.0)
    seed = step.seed if config.seed is None else config.seed
    count, most = config.num_generations, config.max_completion_length
    return Asked(count, most, config.batch_size, sampling, seed)


def _count(manifest: Manifest, sampled: Sampled, generator: Generator, judge_size: int) -> None:
    """Tokens and FLOPs (2 a parameter), and what the reward functions logged."""
    from hfllm.modeling.flops import matmul_parameters

    answers = [answer for group in sampled.groups for answer in group]
    manifest.tokens = sum(answer.tokens for answer in answers)
    size = matmul_parameters(generator.model) + judge_size
    manifest.flops = 2.0 * size * (manifest.tokens + sampled.prompt_tokens)
    manifest.metrics |= {name: round(value, 5) for name, value in sampled.logged.items()}
    manifest.metrics["answer_tokens"] = round(manifest.tokens / len(answers), 2)
    if sampled.resumed:
        manifest.notes.append(f"answers to {sampled.resumed:,} prompts were there already")


def _scores_by_n(step: Step, manifest: Manifest, groups: Groups) -> None:
    """Mean score of the best of n for n = 1, 2, 4, ..., with intervals, to metrics.jsonl."""
    from hfllm.evaluation.best_of import scores_by_n
    from hfllm.evaluation.intervals import share

    scored = [[answer.score for answer in group] for group in groups]
    whole = [[s for s in group if s is not None] for group in scored if None not in group]
    pairs = share([number < manifest.metrics["pairs"] for number in range(len(groups))])
    manifest.metrics |= {
        f"pair_share/{end}": round(getattr(pairs, end), 5) for end in ("value", "low", "high")
    }
    if not whole:
        return
    by_n = scores_by_n(whole)
    write_lines(
        step.metrics,
        [
            {"step": n, "best_of/score": v.value, "best_of/low": v.low, "best_of/high": v.high}
            for n, v in by_n.items()
        ],
    )
    for n, found in by_n.items():
        print(f"  best of {n:<4} {found.value:.4g} [{found.low:.4g}, {found.high:.4g}]", flush=True)
    first, last = by_n[1], by_n[max(by_n)]
    for name, found in (("mean", first), ("best", last)):
        manifest.metrics[f"score/{name}"] = round(found.value, 5)
