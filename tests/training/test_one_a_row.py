"""A model in which packed documents would see each other is trained on one document a row."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hfllm.data.packing.dataset import PackedDataset
from hfllm.recipe.checks import value_problems
from hfllm.runs.manifest import Manifest
from hfllm.tokenization.encode import encode_texts
from tiny import DROP, MODEL

SEQ_LEN = 64
MODELS = {
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 2},
    "xlstm": {"hidden_size": 32, "num_blocks": 2, "num_heads": 4},
}


def recipe(workspace, model_type):
    llama_alone = dict.fromkeys(MODEL, DROP)
    model = {"model_type": model_type, **MODELS[model_type]}
    workspace.recipe({"pretrain": {"model": {**llama_alone, **model}}})


def nats_alone(step, texts):
    """Mean loss of each document's tokens, cut into rows, each run by itself."""
    model = AutoModelForCausalLM.from_pretrained(step.model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(step.model)
    found = []
    for ids in encode_texts(tokenizer, texts):
        whole = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]
        for start in range(0, len(whole), SEQ_LEN):
            row = torch.tensor([whole[start : start + SEQ_LEN]])
            if row.numel() > 1:
                with torch.no_grad():
                    logits = model(input_ids=row).logits[0, :-1]
                nll = torch.nn.functional.cross_entropy(logits, row[0, 1:], reduction="none")
                found.append(nll)
    return float(torch.cat(found).mean())


@pytest.mark.parametrize("model_type", list(MODELS))
def test_the_loss_of_the_stage_is_that_of_the_documents_alone(workspace, model_type, capsys):
    recipe(workspace, model_type)
    workspace.run("tokenizer")
    step = workspace.run("pretrain", "pretrain.sample_prompts=[Person]")
    manifest = Manifest.read(step.manifest)
    lines = (workspace.folder / "data" / "heldout.jsonl").read_text().splitlines()
    expected = nats_alone(step, [json.loads(line)["text"] for line in lines])
    assert manifest.metrics["eval_nll_per_token"] == pytest.approx(expected, rel=1e-5)
    (note,) = manifest.notes
    share = manifest.metrics["padding_share"]
    assert note == (
        "pretrain: documents of a packed row see each other in this model: one document a row, "
        f"{share:.0%} of the rows is padding"
    )
    assert note in capsys.readouterr().out
    assert '"prompt": "Person"' in (step.folder / "samples.jsonl").read_text()
    rows = PackedDataset(step.data / "train" / "documents")
    for row in rows:  # its positions restart in the padding only
        (padding,) = (row["position_ids"] == 0).nonzero()
        assert (row["labels"][padding] == -100).all()
    kept = sum(row["tokens"] for row in manifest.ledger if row["bucket"] == "kept")
    assert rows.stats["tokens"] == kept + 2 * rows.stats["documents"]


def test_chats_and_replayed_documents_get_rows_of_their_own(workspace, capsys):
    recipe(workspace, "bloom")
    for name in ("tokenizer", "pretrain"):
        workspace.run(name)
    capsys.readouterr()
    step = workspace.run("sft", "sft.data.replay=[{path: data/documents.jsonl}]")
    assert "one document a row" in capsys.readouterr().out
    for name in ("chats", "documents"):
        stats = PackedDataset(step.data / "train" / name).stats
        assert stats["rows"] >= stats["documents"]


def test_rows_of_one_chat_need_no_trial(workspace, capsys):
    """`packing: false` asks for them: no note, unless replayed documents are packed."""
    recipe(workspace, "bloom")
    for name in ("tokenizer", "pretrain"):
        workspace.run(name)
    capsys.readouterr()
    step = workspace.run("sft", "sft.data.packing=false")
    assert "one document a row" not in capsys.readouterr().out
    stats = PackedDataset(step.data / "train" / "chats").stats
    assert stats["rows"] == stats["documents"]


@pytest.mark.parametrize("name", ["pretrain", "sft"])
def test_a_cache_in_training_is_refused(workspace, name):
    (problem,) = value_problems(workspace.step(name, f"{name}.trainer.use_cache=true").spec)
    assert problem.startswith(f"{name}.trainer.use_cache: with a cache the documents of a packed")
    assert not value_problems(workspace.step(name, f"{name}.trainer.use_cache=false").spec)


def test_the_trials_before_training_change_no_loss(workspace, monkeypatch):
    """With dropout, which would show a random number drawn more."""
    gpt2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2}
    workspace.recipe({"pretrain": {"model": {**dict.fromkeys(MODEL, DROP), **gpt2}}})
    workspace.run("tokenizer")
    workspace.run("pretrain")
    tried = workspace.losses("pretrain")
    monkeypatch.setenv("HFLLM_FORCE", "pretrain")
    monkeypatch.setattr("hfllm.modeling.isolation.packing_problem", lambda *_: None)
    monkeypatch.setattr("hfllm.modeling.build.try_model", lambda *_: None)
    workspace.run("pretrain")
    assert workspace.losses("pretrain") == tried
