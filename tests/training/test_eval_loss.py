"""The held-out loss is the sum of nll over tokens, for any rows and batch sizes."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTTrainer

from hfllm.runs.manifest import Manifest
from hfllm.training.eval_loss import nll_metrics, row_sums
from hfllm.training.sft_trainer import OnePassSFTTrainer
from tiny import documents


class Prediction:
    def __init__(self, predictions):
        self.predictions = predictions.numpy()


def test_uneven_rows_and_batches_against_a_plain_loop():
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 9, 11), torch.randint(0, 11, (6, 9))
    for row, kept in enumerate((9, 2, 5, 1, 7, 3)):
        labels[row, kept:] = -100
    sums = torch.cat([row_sums(logits[:4], labels[:4]), row_sums((logits[4:],), labels[4:])])
    total, count = 0.0, 0
    for row in range(6):
        for t in range(1, 9):
            if labels[row, t] != -100:
                total -= logits[row, t - 1].log_softmax(-1)[labels[row, t]].item()
                count += 1
    got = nll_metrics(text_bytes=50)(Prediction(sums))
    assert count == 21
    assert got["tokens"] == count
    assert got["nll_per_token"] == pytest.approx(total / count, rel=1e-6)
    assert got["bpb"] == pytest.approx(total / (math.log(2) * 50), rel=1e-6)
    assert "bpb" not in nll_metrics(None)(Prediction(sums))


def test_rows_in_bfloat16_are_summed_in_float32():
    logits, labels = torch.randn(1, 64, 11).bfloat16(), torch.randint(0, 11, (1, 64))
    exact = F.cross_entropy(logits[0, :-1].float(), labels[0, 1:], reduction="sum")
    assert row_sums(logits, labels)[0, 0].item() == pytest.approx(exact.item(), rel=1e-6)


def test_a_trained_steps_figure_against_a_loop_over_the_text(trained):
    step = trained.step("pretrain")
    metrics = Manifest.read(step.manifest).metrics
    model = AutoModelForCausalLM.from_pretrained(step.model).eval()
    tokenizer = AutoTokenizer.from_pretrained(step.model)
    nll, tokens, size = 0.0, 0, 0
    for row in documents(8, start=60):
        ids = [1, *tokenizer(row["text"], add_special_tokens=False)["input_ids"], 2]
        size += len(row["text"].encode())
        for begin in range(0, len(ids), 64):
            piece = torch.tensor([ids[begin : begin + 64]])
            with torch.no_grad():
                logits = model(input_ids=piece).logits[0, :-1]
            nll += F.cross_entropy(logits, piece[0, 1:], reduction="sum").item()
            tokens += piece.shape[1] - 1
    assert metrics["eval_tokens"] == tokens
    assert metrics["eval_nll_per_token"] == pytest.approx(nll / tokens, rel=1e-5)
    assert metrics["eval_bpb"] == pytest.approx(nll / (math.log(2) * size), rel=1e-5)
    logged = [json.loads(line) for line in step.metrics.read_text().splitlines()]
    assert [r["eval_bpb"] for r in logged if "eval_bpb" in r][-1] == metrics["eval_bpb"]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_sft_is_tested_in_one_pass_with_the_figures_of_two(trained, monkeypatch, smoothing):
    fitted = []
    monkeypatch.setattr("hfllm.training.fit.fit", lambda trainer, *_: fitted.append(trainer))
    heldout = "sft.data.heldout=[{path: data/chats.jsonl}]"
    trained.run("sft", heldout, f"sft.trainer.label_smoothing_factor={smoothing}")
    trainer = fitted[0]
    passes = []
    trainer.model.register_forward_hook(lambda *_: passes.append(1))
    got = trainer.evaluate()
    batches = math.ceil(len(trainer.eval_dataset) / trainer.args.eval_batch_size)
    assert len(passes) == (2 if smoothing else 1) * batches  # smoothing needs the logits
    trainer.preprocess_logits_for_metrics = row_sums
    monkeypatch.setattr(OnePassSFTTrainer, "prediction_step", SFTTrainer.prediction_step)
    theirs = trainer.evaluate()
    assert got["eval_tokens"] == theirs["eval_tokens"] > 0
    for name in ("eval_nll_per_token", "eval_loss"):
        assert got[name] == pytest.approx(theirs[name], rel=1e-5)


def test_the_trained_model_is_evaluated_once(workspace):
    """A last step that was evaluated in training is not evaluated again; the figures are equal."""
    seen = {}
    for every in (4, 3):  # the last of 8 steps is evaluated in training, or after it
        place = f"run_dir=runs-{every}"
        keys = ("trainer.max_steps=8", f"trainer.eval_steps={every}", "sample_prompts=[Who]")
        workspace.run("tokenizer", place)
        step = workspace.run("pretrain", place, *(f"pretrain.{key}" for key in keys))
        rows = [json.loads(line) for line in step.metrics.read_text().splitlines()]
        evaluated = [row["step"] for row in rows if "eval_loss" in row]
        assert evaluated == ([4, 8] if every == 4 else [3, 6, 8])
        texts = (step.folder / "samples.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in texts] == evaluated
        metrics = Manifest.read(step.manifest).metrics
        assert metrics["eval_loss"] == [row for row in rows if "eval_loss" in row][-1]["eval_loss"]
        seen[every] = {key: value for key, value in metrics.items() if key.startswith("eval_")}
    assert seen[4] == seen[3] and "eval_bpb" in seen[3]
