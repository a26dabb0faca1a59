"""Documents replayed among chats: their share of the rows, their loss, and the ledger."""

import pytest

from hfllm.data.packing.dataset import PackedDataset, PackedSplit
from hfllm.data.packing.mixture import chat_mixture
from hfllm.data.packing.pack import PackStats
from hfllm.recipe.config import ChatDataConfig, SourceConfig
from hfllm.runs.manifest import Manifest

REPLAY = ("sft.data.replay=[{path: data/documents.jsonl}]", "sft.data.replay_share=0.5")


class Sized(list):
    stats = PackStats().to_json()


def test_the_share_holds_whatever_the_sizes():
    names = {"chats": 30, "more": 10, "web": 500}
    rows = PackedSplit({name: Sized([name] * n) for name, n in names.items()}, None)
    data = ChatDataConfig(
        mixture=[SourceConfig(path="chats.jsonl"), SourceConfig(path="more.jsonl")],
        replay=[SourceConfig(path="web.jsonl")],
        replay_share=0.25,
    )
    seen = list(chat_mixture(rows, data, lambda rows: 400, seed=0))
    assert abs(seen.count("web") - 100) <= 1
    assert abs(seen.count("chats") - 225) <= 1  # chats among themselves: by size
    assert [name == "web" for name in seen[:8]].count(True) == 2  # spread, not at the end


def test_every_token_of_a_replayed_document_is_trained_and_counted(trained):
    step = trained.run("sft", *REPLAY)
    manifest = Manifest.read(step.manifest)
    rows = {row["source"]: row for row in manifest.ledger if row["bucket"] == "kept"}
    assert set(rows) == {"chats", "documents"}
    pretrain = Manifest.read(trained.step("pretrain").manifest)
    kept = next(row for row in pretrain.ledger if row["bucket"] == "kept")
    assert rows["documents"] == kept  # packed as for pretraining
    packed = PackedDataset(step.data / "train" / "documents")
    first = packed[0]
    starts = first["position_ids"] == 0
    assert ((first["labels"] != -100) == ~starts).all()
    chats, web = manifest.metrics["epochs/chats"], manifest.metrics["epochs/documents"]
    sizes = [len(PackedDataset(step.data / "train" / name)) for name in ("chats", "documents")]
    assert chats * sizes[0] == pytest.approx(web * sizes[1], abs=1.01)  # half and half
