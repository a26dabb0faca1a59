"""DPO on ready rows: TRL's losses on our tokens, and a reference that is the start model's."""

import inspect

import pytest
import torch
from peft import LoraConfig
from torch.nn.functional import logsigmoid, relu
from trl import DPOTrainer

from hfllm.tokenization.render import render
from hfllm.training.answer_rows import pair_of_answers, prompt_and_answer
from hfllm.training.dpo_trainer import ReadyDPOTrainer
from tiny import pair
from tiny_model import moved, tiny_model

LORA = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", "v_proj"])


@pytest.fixture()
def build(build_dpo):
    return build_dpo


@pytest.fixture()
def tokenizer(pair_tokenizer):
    return pair_tokenizer


@pytest.fixture()
def rows(pair_rows):
    return pair_rows


def loss_of(trainer):
    batch = trainer.data_collator(
        [trainer.train_dataset[i] for i in range(len(trainer.train_dataset))]
    )
    return trainer.compute_loss(trainer.model, batch)


def sums(model, rows, side):
    """Log-probability of each answer, from the model's own logits: (rows,)."""
    out = []
    for row in rows:
        ids = torch.tensor([row["prompt_ids"] + row[f"{side}_ids"]])
        with torch.no_grad():
            table = model(ids).logits[0].log_softmax(-1)
        begin = len(row["prompt_ids"])
        out.append(sum(table[at - 1, ids[0, at]] for at in range(begin, ids.size(1))))
    return torch.stack(out)


def lengths(rows, side):
    return torch.tensor([len(row[f"{side}_ids"]) for row in rows])


FORMULAS = {
    "sigmoid": lambda c, r, rows: -logsigmoid(0.3 * (c - r)),
    "ipo": lambda c, r, rows: (
        c / lengths(rows, "chosen") - r / lengths(rows, "rejected") - 1 / (2 * 0.3)
    ) ** 2,
    "hinge": lambda c, r, rows: relu(1 - 0.3 * (c - r)),
    "robust": lambda c, r, rows: (
        (-0.9 * logsigmoid(0.3 * (c - r)) + 0.1 * logsigmoid(-0.3 * (c - r))) / 0.8
    ),
}  # fmt: skip


@pytest.mark.parametrize("precompute", [True, False])
@pytest.mark.parametrize("name", FORMULAS)
def test_the_loss_is_the_papers_formula(build, tokenizer, rows, name, precompute):
    smoothing = {"label_smoothing": 0.1} if name == "robust" else {}
    second = None if precompute else tiny_model(tokenizer)
    start, changes = tiny_model(tokenizer), {"precompute_ref_log_probs": precompute, **smoothing}
    trainer = moved(build(loss_type=name, ref_model=second, **changes))
    ratios = [
        sums(trainer.model, rows, side) - sums(start, rows, side) for side in ("chosen", "rejected")
    ]
    assert ratios[0].abs().min() > 0.01
    torch.testing.assert_close(
        loss_of(trainer), FORMULAS[name](*ratios, rows).mean(), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("precompute", [True, False])
def test_with_an_adapter_the_reference_is_the_model_without_it(build, tokenizer, rows, precompute):
    trainer = moved(build(peft=LORA, precompute_ref_log_probs=precompute))
    start = tiny_model(tokenizer)
    ratios = []
    for side in ("chosen", "rejected"):
        ratios.append(sums(trainer.model, rows, side) - sums(start, rows, side))
        with trainer.model.disable_adapter():
            torch.testing.assert_close(sums(trainer.model, rows, side), sums(start, rows, side))
    assert ratios[0].abs().min() > 0.01 and trainer.ref_model is None
    expected = FORMULAS["sigmoid"](*ratios, rows).mean()
    torch.testing.assert_close(loss_of(trainer), expected, rtol=1e-4, atol=1e-5)


def test_the_head_on_answer_tokens_gives_what_trls_gives(build, monkeypatch):
    def losses():
        trainer = moved(build(use_weighting=True))
        trainer.model.train()
        loss = loss_of(trainer)
        loss.backward()
        grads = [weight.grad for weight in trainer.model.parameters()]
        return loss, grads, {name: values[0] for name, values in trainer._metrics["train"].items()}

    ours = losses()
    monkeypatch.setenv("HFLLM_SLOW", "trained_head")
    theirs = losses()
    torch.testing.assert_close(ours[:2], theirs[:2], rtol=1e-3, atol=1e-5)
    assert ours[2] == pytest.approx(theirs[2], rel=1e-3, abs=1e-4) and "logits/chosen" in ours[2]


def test_the_answer_is_what_a_loss_mask_trains(tokenizer):
    one = pair(3)
    one["prompt"] = [
        *pair(1)["prompt"],
        *pair(1)["chosen"],
        {"role": "user", "content": "<|end|>?"},
    ]
    row = pair_of_answers(tokenizer, one)
    for side in ("chosen", "rejected"):
        whole = render(tokenizer, [*one["prompt"], *one[side]], train="last")
        trained = [i for i, t in zip(whole.input_ids, whole.trained, strict=True) if t]
        assert row[f"{side}_ids"] == trained
        assert tokenizer.decode(trained) == one[side][0]["content"] + "<|end|>"
    asked = render(tokenizer, one["prompt"], add_generation_prompt=True).input_ids
    assert row["prompt_ids"] == asked  # as at inference, the spelled <|end|> included
    assert asked.count(tokenizer.convert_tokens_to_ids("<|end|>")) == 3  # of the three turns alone


def test_what_the_template_writes_behind_the_end_of_turn_is_left_out(tokenizer):
    theirs = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}" \
             "{% if add_generation_prompt %}<|assistant|>{% endif %}"  # fmt: skip
    own, tokenizer.chat_template = tokenizer.chat_template, theirs
    try:
        prompt, answer = prompt_and_answer(tokenizer, pair(0)["prompt"], pair(0)["chosen"])
    finally:
        tokenizer.chat_template = own
    assert tokenizer.decode(prompt) == "<|user|>Who is person 0?<|end|>\n<|assistant|>"
    assert tokenizer.decode(answer) == "A baker.<|end|>"


def test_no_row_is_tokenized_cut_or_dropped(build, rows):
    trainer = build(order=[3, 0, 0, 6])
    kept = [{key: row[key] for key in rows[0]} for row in trainer.train_dataset]
    assert kept == [rows[3], rows[0], rows[0], rows[6]]
    batch = trainer.data_collator([trainer.train_dataset[1]])
    for side, ids, mask in zip(
        ("chosen", "rejected"), batch["input_ids"], batch["completion_mask"], strict=True
    ):
        assert ids[mask.bool()].tolist() == rows[0][f"{side}_ids"]


def test_the_kept_log_probabilities_are_read_again_and_only_for_the_same_rows_and_model(
    build, tokenizer, monkeypatch
):
    first = build().train_dataset["ref_chosen_logps"][:]
    passes, compute = [], DPOTrainer.compute_ref_log_probs

    def counted(self, model, inputs):
        passes.append(1)
        return compute(self, model, inputs)

    monkeypatch.setattr(DPOTrainer, "compute_ref_log_probs", counted)
    again = build(order=[1, 0])
    assert not passes and again.train_dataset["ref_chosen_logps"][:] == [first[1], first[0]]
    other = build(model=tiny_model(tokenizer, seed=5))
    assert len(passes) == 1 and other.train_dataset["ref_chosen_logps"][:] != first
    build(model=tiny_model(tokenizer, seed=5), ld_alpha=0.5)
    assert len(passes) == 2
    (file,) = other._folder.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-9])  # cut off
    assert build().train_dataset["ref_chosen_logps"][:] == first


# What is overridden and read in TRL; an upgrade that changes it fails here.
SIGNATURES = {
    "_prepare_dataset": "dataset processing_class args dataset_name",
    "_precompute_ref_logps": "dataset name batch_size",
}


def test_every_override_is_pinned():
    functions = {name for name, x in vars(ReadyDPOTrainer).items() if inspect.isfunction(x)}
    ours = {"_install_head", "_reference", "__init__"}
    assert functions - ours == set(SIGNATURES)
    for name, words in SIGNATURES.items():
        parameters = list(inspect.signature(getattr(DPOTrainer, name)).parameters)[1:]
        assert parameters == words.split()
    assert not {"_install_head", "_reference", "_folder", "_has_head", "notes"} & set(
        vars(DPOTrainer)
    )


def test_what_is_read_of_trl(build):
    trainer = build()
    for name in (
        "precompute_ref_logps", "ld_alpha", "use_weighting", "ref_model", "is_deepspeed_enabled",
        "_precompute_model_hash", "_precompute_engine",
    ):  # fmt: skip
        assert hasattr(trainer, name), name
    source = inspect.getsource(DPOTrainer)
    assert 'inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]' in source
    assert source.index("add_fused_lm_head(") < source.index("self._precompute_ref_logps(")
    assert "self._total_train_tokens +=" in source  # training/resume.py restores it
