"""Packing loses no token, mixes no documents, and trains each document as if it were alone."""

import pickle
import random

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hfllm.data.packing.dataset import PackedDataset, as_hf_dataset, write_packed
from hfllm.data.packing.pack import IGNORED, PackedCollator, PackStats, pack, positions_of
from hfllm.tokenization.render import Rendered

PAD, BOS, EOS = 0, 1, 2


def documents(rng, count, longest):
    return [[rng.randrange(7, 64) for _ in range(rng.randrange(1, longest))] for _ in range(count)]


def single_row(document):
    """One document as a row of its own length."""
    length = len(document.input_ids if isinstance(document, Rendered) else document)
    (row,) = pack([document], length, PAD)
    return row


def segments(row):
    """The row's documents as (ids, labels), by positions, padding left out."""
    starts = np.flatnonzero(row["position_ids"] == 0)
    spans = zip(starts, [*starts[1:], len(row["input_ids"])], strict=True)
    parts = [(row["input_ids"][a:b].tolist(), row["labels"][a:b].tolist()) for a, b in spans]
    return [part for part in parts if part[0] != [PAD]]


def test_small_example():
    stats = PackStats()
    (row,) = pack([[10, 11], [12]], 9, PAD, ((BOS,), (EOS,)), stats)
    assert row["input_ids"].tolist() == [1, 10, 11, 2, 1, 12, 2, 0, 0]
    assert row["labels"].tolist() == [-100, 10, 11, 2, -100, 12, 2, -100, -100]
    assert row["position_ids"].tolist() == [0, 1, 2, 3, 0, 1, 2, 0, 0]
    assert {column.dtype for column in row.values()} == {np.dtype(np.int32)}
    assert stats == PackStats(documents=2, tokens=7, trained_tokens=5, rows=1, padding=2)


@pytest.mark.parametrize("seed", range(12))
def test_no_token_is_lost_or_moved(seed):
    rng = random.Random(seed)
    seq_len, window = rng.choice([2, 5, 16, 33]), rng.choice([1, 3, 50])
    docs = documents(rng, 120, rng.choice([3, 20, 90]))
    around = rng.choice([None, ((BOS,), (EOS,))])
    stats = PackStats()
    rows = list(pack(docs, seq_len, PAD, around, stats, window))
    whole = [[BOS, *doc, EOS] if around else doc for doc in docs]
    chunks = [doc[a : a + seq_len] for doc in whole for a in range(0, len(doc), seq_len)]
    found = [part for row in rows for part in segments(row)]
    assert sorted(ids for ids, _ in found) == sorted(chunks)
    for ids, labels in found:
        assert labels == [IGNORED, *ids[1:]]
    assert all(len(column) == seq_len for row in rows for column in row.values())
    assert stats.documents == len(docs)
    assert stats.tokens == sum(map(len, whole))
    assert stats.tokens + stats.padding == stats.rows * seq_len
    assert stats.split == sum(len(doc) > seq_len for doc in whole)
    assert stats.trained_tokens == sum(len(chunk) - 1 for chunk in chunks)


def test_best_fit_pads_little_and_keeps_the_order():
    rng = random.Random(0)
    docs = [[100 + i, *doc] for i, doc in enumerate(documents(rng, 3000, 200))]
    stats = PackStats()
    rows = list(pack(docs, 256, PAD, stats=stats))
    assert stats.padding_share < 0.01
    firsts = [int(row["input_ids"][0]) for row in rows]
    assert firsts == sorted(firsts)
    again = list(pack(iter(docs), 256, PAD))
    assert all((a["input_ids"] == b["input_ids"]).all() for a, b in zip(rows, again, strict=True))


@pytest.mark.parametrize("length", [15, 16, 17, 32, 33])
def test_lengths_at_the_border(length):
    stats = PackStats()
    rows = list(pack([list(range(10, 10 + length))] * 3, 16, PAD, stats=stats))
    assert stats.tokens == 3 * length
    assert stats.rows == len(rows)


def test_conversations_are_labelled_where_they_are_trained():
    chat = Rendered([1, 4, 10, 6, 5, 11, 6], [False] * 5 + [True] * 2)
    stats = PackStats()
    (row,) = pack([chat, chat], 16, PAD, ((BOS,), (EOS,)), stats)
    assert row["input_ids"].tolist() == [*chat.input_ids, *chat.input_ids, 0, 0]
    assert row["labels"].tolist() == [*([-100] * 5 + [11, 6]) * 2, -100, -100]
    assert stats.trained_tokens == 4


def test_seq_len_of_one_is_refused():
    with pytest.raises(ValueError, match="data.seq_len: 1"):
        list(pack([[1, 2]], 1, PAD))


def test_positions_count_from_each_start():
    starts = np.array([1, 0, 0, 1, 1, 0], bool)
    assert positions_of(starts).tolist() == [0, 1, 2, 0, 0, 1]


@pytest.mark.parametrize("vocab_size", [64, 70_000])
def test_written_rows_come_back(tmp_path, vocab_size):
    rng = random.Random(1)
    mixed = [*documents(rng, 40, 30), Rendered([1, 9, 5, 8, 6], [False] * 3 + [True] * 2)]
    stats = PackStats()
    rows = list(pack(mixed, 24, PAD, stats=stats))
    written = write_packed(rows, tmp_path, vocab_size, stats)
    for data in (written, PackedDataset(tmp_path), pickle.loads(pickle.dumps(written))):
        assert len(data) == len(rows)
        for i, row in enumerate(rows):
            for name, column in row.items():
                assert (data[i][name] == column).all()
                assert data[i][name].dtype == np.int32
    assert len(pickle.dumps(written)) < 500
    assert written.stats["tokens"] == stats.tokens
    with pytest.raises(IndexError):
        written[len(rows)]


def test_hf_view_has_the_same_rows(tmp_path):
    stats = PackStats()
    rows = pack(documents(random.Random(1), 40, 30), 24, PAD, stats=stats)
    written = write_packed(rows, tmp_path, 64, stats)
    view = as_hf_dataset(written)
    assert len(view) == len(written)
    loader = torch.utils.data.DataLoader(view, batch_size=3, collate_fn=PackedCollator(PAD))
    seen = torch.cat([batch["labels"] for batch in loader])
    assert (seen.numpy() == np.stack([written[i]["labels"] for i in range(len(written))])).all()


def test_broken_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="packed.json is missing"):
        PackedDataset(tmp_path)
    with pytest.raises(ValueError, match="nothing to pack, the sources gave no document"):
        write_packed([], tmp_path, 64, PackStats())
    stats = PackStats()
    write_packed(pack([[7, 8, 9]], 4, PAD, stats=stats), tmp_path, 64, stats)
    (tmp_path / "tokens.bin").write_bytes(b"\0")
    with pytest.raises(ValueError, match="tokens.bin: 1 bytes, but 8 were written"):
        PackedDataset(tmp_path)


def test_collator_gives_no_attention_mask_and_pads_unpacked_rows():
    chat = Rendered([1, 10, 5, 11, 6], [False] * 3 + [True] * 2)
    batch = PackedCollator(PAD)([single_row(chat), single_row([7, 8])])
    assert set(batch) == {"input_ids", "labels", "position_ids"}
    assert batch["input_ids"].tolist() == [[1, 10, 5, 11, 6], [7, 8, 0, 0, 0]]
    assert batch["labels"].tolist() == [[-100, -100, -100, 11, 6], [-100, 8, -100, -100, -100]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 4], [0, 1, 0, 0, 0]]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def test_collator_names_the_dropped_column():
    row = single_row([7, 8])
    del row["position_ids"]
    with pytest.raises(ValueError, match="remove_unused_columns=false"):
        PackedCollator(PAD)([row])


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def model(request):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        use_cache=False,
        attn_implementation=request.param,
    )
    return LlamaForCausalLM(config).eval()


def losses(model, batch):
    """Loss per predicted token, (B, L - 1); 0 where nothing is predicted."""
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"]).logits
    labels = batch["labels"][:, 1:]
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    )


@pytest.mark.parametrize("packed", [True, False])
def test_packed_loss_of_a_document_is_its_loss_alone(model, packed):
    rng = random.Random(2)
    docs = [doc for doc in documents(rng, 14, 20) if len(doc) > 1]
    rows = list(pack(docs, 32, PAD)) if packed else [single_row(doc) for doc in docs]
    together = losses(model, PackedCollator(PAD)(rows))
    compared = 0
    for row, row_losses in zip(rows, together, strict=True):
        starts = np.flatnonzero(row["position_ids"] == 0)
        for start, (ids, _) in zip(starts, segments(row), strict=False):
            alone = losses(model, PackedCollator(PAD)([single_row(ids)]))[0]
            torch.testing.assert_close(
                row_losses[start : start + len(ids) - 1], alone, atol=1e-5, rtol=0
            )
            compared += 1
    assert compared == len(docs)


def test_model_loss_is_the_mean_over_all_documents(model):
    docs = [doc for doc in documents(random.Random(3), 12, 20) if len(doc) > 1]
    batch = PackedCollator(PAD)(list(pack(docs, 32, PAD)))
    with torch.no_grad():
        together = model(**batch).loss
    alone = torch.cat([losses(model, PackedCollator(PAD)([single_row(doc)]))[0] for doc in docs])
    torch.testing.assert_close(together, alone.mean(), atol=1e-5, rtol=0)


def test_an_attention_mask_would_mix_the_documents(model):
    docs = [doc for doc in documents(random.Random(3), 12, 20) if len(doc) > 1]
    batch = PackedCollator(PAD)(list(pack(docs, 32, PAD)))
    with torch.no_grad():
        apart = model(**batch).logits
        mixed = model(**batch, attention_mask=torch.ones_like(batch["input_ids"])).logits
    assert (apart - mixed).abs().max() > 1e-3


def test_batches_of_one_document_a_row_have_a_mask_and_end_with_the_longest():
    rows = list(pack([[7, 8, 9], [10, 11], [12]], 6, PAD, window=1))
    batch = PackedCollator(PAD, one_a_row=True)(rows)
    assert batch["input_ids"].tolist() == [[7, 8, 9], [10, 11, 0], [12, 0, 0]]
    assert batch["labels"].tolist() == [[-100, 8, 9], [-100, 11, -100], [-100] * 3]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0], [1, 0, 0]]
    assert set(batch) == {"input_ids", "labels", "attention_mask"}
