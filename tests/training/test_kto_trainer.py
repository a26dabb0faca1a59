"""KTO on ready rows: TRL's loss on our tokens, with a KL from answers to other prompts."""

import inspect

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from trl import KTOConfig, KTOTrainer

from hfllm.data.ledger import Example, Ledger
from hfllm.tokenization.render import render
from hfllm.training.answer_rows import Ordered
from hfllm.training.kto_config import CheckedKTOConfig
from hfllm.training.kto_rows import PlacedRows, mismatched, place, place_tests, weigh_labels
from hfllm.training.kto_trainer import ReadyKTOTrainer
from hfllm.training.labelled_rows import labelled_rows, tokens_of
from tiny import pair
from tiny_model import moved, tiny_model

LORA = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", "v_proj"])


def example(i, *sides):
    return Example({"source": "s", **{k: x for k, x in pair(i).items() if k in ("prompt", *sides)}})


@pytest.fixture()
def rows(pair_tokenizer):
    """Two good answers and three bad ones, to five prompts."""
    sides = ("chosen", "rejected", "rejected", "chosen", "rejected")
    return labelled_rows(pair_tokenizer, [example(i, side) for i, side in enumerate(sides)], 96)


@pytest.fixture()
def build(tmp_path, pair_tokenizer, rows):
    def make(peft=None, model=None, ref_model=None, order=(3, 0, 1, 4, 2), **changes):
        settings = {
            "use_cpu": True, "bf16": False, "report_to": "none", "gradient_checkpointing": False,
            "max_length": None, "disable_tqdm": True, "remove_unused_columns": False, "beta": 0.3,
            "precompute_ref_log_probs": True, "logging_steps": 1, "learning_rate": 1e-3,
            "save_strategy": "no", "per_device_train_batch_size": 5,
        }  # fmt: skip
        args = CheckedKTOConfig(str(tmp_path), **{**settings, **changes})
        placed, _ = place(Ordered(rows, list(order), 1.0), args, 96)
        return ReadyKTOTrainer(
            train=placed, tests=None, folder=tmp_path / "reference", args=args,
            model=model or tiny_model(pair_tokenizer), ref_model=ref_model,
            processing_class=pair_tokenizer, peft_config=peft,
        )  # fmt: skip

    return make


def drawn_to_other_answers(trainer):
    """The model likes the mismatched answers more than the reference does: the KL is above 0."""
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
    labels = batch["KL_input_ids"].masked_fill(batch["KL_completion_mask"] == 0, -100)
    for _ in range(4):
        trainer.model(input_ids=batch["KL_input_ids"], labels=labels).loss.backward()
        with torch.no_grad():
            for weight in trainer.model.parameters():
                if weight.requires_grad:
                    weight -= 0.5 * weight.grad
        trainer.model.zero_grad()
    return trainer


def loss_of(trainer):
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(5)])
    return trainer.compute_loss(trainer.model, batch)


def logp(model, prompt, answer):
    ids = torch.tensor([prompt + answer])
    with torch.no_grad():
        table = model(ids).logits[0].log_softmax(-1)
    return sum(table[at - 1, ids[0, at]] for at in range(len(prompt), ids.size(1)))


def by_hand(model, start, rows, order, weights=(1.0, 1.0)):
    """Equations 7 and 8 of the paper, with the KL estimate of the answers turned by one."""

    def gain(row, answer):
        return logp(model, row["prompt_ids"], answer) - logp(start, row["prompt_ids"], answer)

    placed = [rows[i] for i in order]
    others = [placed[-1], *placed[:-1]]
    pairs = zip(placed, others, strict=True)
    kl = torch.stack([gain(row, other["completion_ids"]) for row, other in pairs]).mean().clamp(0)
    losses = []
    for row in placed:
        z = 0.3 * (gain(row, row["completion_ids"]) - kl)
        losses.append(weights[0] * (1 - z.sigmoid()) if row["label"] else
                      weights[1] * (1 - (-z).sigmoid()))  # fmt: skip
    return torch.stack(losses).mean(), kl


@pytest.mark.parametrize("precompute", [True, False])
def test_the_loss_is_the_papers_formula(build, pair_tokenizer, rows, precompute):
    start = tiny_model(pair_tokenizer)
    second = None if precompute else tiny_model(pair_tokenizer)
    trainer = build(ref_model=second, precompute_ref_log_probs=precompute, desirable_weight=1.5)
    assert loss_of(trainer).item() == pytest.approx(
        (2 * 0.75 + 3 * 0.5) / 5
    )  # before the first step
    moved(trainer)
    expected, kl = by_hand(trainer.model, start, rows, (3, 0, 1, 4, 2), (1.5, 1.0))
    torch.testing.assert_close(loss_of(trainer), expected, rtol=1e-4, atol=1e-5)
    assert trainer._metrics["train" if trainer.model.training else "eval"]["kl"][-1] == (
        pytest.approx(float(kl), rel=1e-3, abs=1e-4)
    )


@pytest.mark.parametrize("precompute", [True, False])
def test_with_an_adapter_the_reference_is_the_model_without_it(
    build, pair_tokenizer, rows, precompute
):
    trainer = moved(build(peft=LORA, precompute_ref_log_probs=precompute))
    start = tiny_model(pair_tokenizer)
    expected, _ = by_hand(trainer.model, start, rows, (3, 0, 1, 4, 2))
    assert abs(float(expected) - 0.5) > 1e-4 and trainer.ref_model is None
    torch.testing.assert_close(loss_of(trainer), expected, rtol=1e-4, atol=1e-5)


def test_without_a_kl_no_answer_is_mismatched(build):
    trainer = build(loss_type="apo_zero_unpaired")
    assert set(trainer.train_dataset[0]) == {"prompt_ids", "completion_ids", "label", "ref_logps"}
    trainer.train()


def test_in_whole_steps_of_different_prompts_the_mismatched_answers_are_trls(tmp_path, rows):
    """TRL's own preparation of the same rows; only its tokenizing is skipped."""
    made = Dataset.from_list(rows * 2)
    plain = object.__new__(KTOTrainer)
    plain.calculate_KL, plain.desirable_weight, plain.undesirable_weight = True, 1.0, 1.0
    args = KTOConfig(str(tmp_path), use_cpu=True, bf16=False, max_length=None,
                        per_device_train_batch_size=5)  # fmt: skip
    source = inspect.getsource(KTOTrainer._prepare_dataset)
    assert '[examples["completion_ids"][-1]] + examples["completion_ids"][:-1]' in source
    assert "batch_size=args.per_device_train_batch_size" in source
    theirs = made.map(
        lambda batch: {
            "KL": [batch["completion_ids"][-1]] + batch["completion_ids"][:-1]
        }, batched=True, batch_size=args.per_device_train_batch_size,
    )["KL"][:]  # fmt: skip
    order = [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
    ours = [rows[i]["completion_ids"] for i in mismatched(rows, order, 5, 96)]
    assert ours == list(theirs)


def test_a_mismatched_answer_is_to_another_prompt_and_fits():
    def row(prompt, answer):
        return {"prompt_ids": [prompt] * 4, "completion_ids": [9] * answer, "label": True}

    rows = [row(1, 2), row(1, 3), row(2, 6), row(3, 1)]
    found = mismatched(rows, [0, 1, 2, 3], 4, 96)
    assert found == [3, 3, 1, 2]  # the pair of prompt 1 is not put to itself
    assert mismatched(rows, [0, 1, 2, 3], 4, 8) == [3, 3, 1, 1]  # the answer of 6 is too long
    assert mismatched(rows, [0, 1, 2, 3], 2, 96) == [0, 1, 3, 2]  # no other prompt in the step
    assert mismatched(rows, [3, 0, 2, 0], 2, 96) == [0, 3, 0, 2]


def test_the_rows_of_a_step_do_not_depend_on_processes_or_accumulation(tmp_path, rows):
    def answers(**changes):
        args = CheckedKTOConfig(str(tmp_path), use_cpu=True, bf16=False, **changes)
        return place(Ordered(rows, [0, 1, 2, 3], 1.0), args, 96)[0].answers

    whole = answers(per_device_train_batch_size=4)
    assert whole == [3, 0, 1, 2]
    assert answers(per_device_train_batch_size=2, gradient_accumulation_steps=2) == whole


@pytest.mark.parametrize("how", ["precomputed", "adapter", "second model"])
def test_the_loss_of_a_step_does_not_depend_on_its_micro_batches(build, pair_tokenizer, how):
    """TRL's KL estimate is of a micro-batch; with one alone it is that of the step."""
    changes = {"precompute_ref_log_probs": how == "precomputed", "max_steps": 2, "max_grad_norm": 0}

    def trained(rows, **sizes):
        second = tiny_model(pair_tokenizer) if how == "second model" else None
        peft = LORA if how == "adapter" else None
        trainer = build(peft, ref_model=second, order=(3, 0, 1, 4) * 2, optim="sgd",
                        per_device_train_batch_size=rows, **sizes, **changes)  # fmt: skip
        drawn_to_other_answers(trainer).train()
        logged = [row for row in trainer.state.log_history if "loss" in row]
        return [(row["loss"], row["kl"]) for row in logged], trainer

    whole, one = trained(4)
    for rows in (2, 1):
        parts, other = trained(rows, gradient_accumulation_steps=4 // rows)
        assert parts == [pytest.approx(step, rel=1e-4, abs=1e-6) for step in whole]
        for ours, theirs in zip(other.model.parameters(), one.model.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert whole[0][1] > 0.01


def test_the_kept_log_probabilities_are_read_again(build, monkeypatch):
    first = build().train_dataset.columns
    monkeypatch.setattr(KTOTrainer, "compute_ref_log_probs", lambda *_: 1 / 0)
    again = build().train_dataset.columns
    assert set(again) == {"ref_logps", "ref_KL_logps"}
    assert all(again[name].equal(first[name]) for name in first)
    with pytest.raises(ZeroDivisionError):
        build(order=(0, 1, 2, 3, 4))


def test_rows_are_the_answers_that_a_loss_mask_trains(pair_tokenizer):
    ledger = Ledger()
    whole, long = example(0, "chosen", "rejected"), example(1, "chosen", "rejected")
    long["rejected"] = [{"role": "assistant", "content": "No idea. " * 40}]
    for one in (whole, long):
        ledger.expect(one)
    kept = []
    rows = labelled_rows(pair_tokenizer, [whole, long], 60, ledger, kept)
    ledger.check()
    assert [row["label"] for row in rows] == [True, False, True]
    assert ledger.total("kept") == 3 and ledger.reasons() == {"too_long": 1}
    assert ledger.total("kept", "tokens") == sum(map(tokens_of, rows))
    assert kept[0] is whole and "rejected" not in kept[1] and kept[1]["chosen"] == long["chosen"]
    rendered = render(pair_tokenizer, [*whole["prompt"], *whole["chosen"]], train="last")
    trained = [i for i, t in zip(rendered.input_ids, rendered.trained, strict=True) if t]
    assert rows[0]["completion_ids"] == trained
    with pytest.raises(ValueError, match="no labelled answer is left .*too_long, first row 0"):
        labelled_rows(pair_tokenizer, [whole], 5)


def test_the_rarer_label_weighs_more_unless_the_recipe_says(tmp_path):
    def weights(good, bad, given=(), **changes):
        args = CheckedKTOConfig(str(tmp_path), use_cpu=True, bf16=False, **changes)
        rows = [{"label": True}] * good + [{"label": False}] * bad
        line = weigh_labels(args, given, rows)
        return args.desirable_weight, args.undesirable_weight, line

    assert weights(2, 8)[:2] == (4.0, 1.0) and weights(6, 3)[:2] == (1.0, 2.0)
    *set_, line = weights(2, 8, ("desirable_weight",), desirable_weight=1.0)
    assert set_ == [1.0, 1.0] and "together the good ones weigh 0.25 of the bad ones" in line
    for counts, kind in (((3, 0), "good"), ((0, 3), "bad")):
        with pytest.raises(ValueError, match=f"all 3 answers are {kind} ones"):
            weights(*counts)


def test_held_out_rows_are_in_the_order_of_their_length(tmp_path, rows):
    args = CheckedKTOConfig(str(tmp_path), use_cpu=True, bf16=False, per_device_eval_batch_size=5)
    placed = place_tests(rows, args, 96)
    lengths = [
        len(x["prompt_ids"]) + len(x["completion_ids"]) for x in map(placed.__getitem__, range(5))
    ]
    assert lengths == sorted(lengths) and placed.answers == [4, 0, 1, 2, 3]
    assert isinstance(placed, PlacedRows) and len(placed) == 5
    with pytest.raises(IndexError):
        placed[5]


# What is overridden and read in TRL; an upgrade that changes it fails here.
SIGNATURES = {
    "get_batch_samples": "epoch_iterator num_batches device",
    "_compute_kl_logps": "model batch",
    "_prepare_dataset": "dataset processing_class args dataset_name",
    "_precompute_ref_logps": "dataset name batch_size",
}


def test_every_override_is_pinned(build):
    functions = {name for name, x in vars(ReadyKTOTrainer).items() if inspect.isfunction(x)}
    ours = {"_install_head", "_mismatched_gains", "__init__"}
    assert functions - ours == set(SIGNATURES)
    for name, words in SIGNATURES.items():
        parameters = list(inspect.signature(getattr(KTOTrainer, name)).parameters)[1:]
        assert parameters == words.split()
    own = {"_install_head", "_mismatched_gains", "_folder", "_placed", "_asks_reference", "notes"}
    assert not own & set(vars(KTOTrainer))
    trainer = build()
    for name in ("precompute_ref_logps", "calculate_KL", "ref_model", "_precompute_model_hash",
                 "_precompute_engine", "is_deepspeed_enabled"):  # fmt: skip
        assert hasattr(trainer, name), name
    source = inspect.getsource(KTOTrainer)
    assert source.index("add_fused_lm_head(") < source.index("self._precompute_ref_logps(")
    calls = [source.index(part) for part in (
        "KL_logps = self._compute_kl_logps(model, batch)", 'ref_KL_logps = batch["ref_KL_logps"]',
        "ref_KL_logps = self._compute_kl_logps(self.model", "(KL_logps - ref_KL_logps).mean()",
    )]  # fmt: skip
    assert calls == sorted(calls)
    assert "args.per_device_train_batch_size <= 1" in source
    assert "self._total_train_tokens +=" in source  # training/resume.py restores it
