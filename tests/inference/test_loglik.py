import copy
import math

import pytest
import torch
from transformers import MambaConfig, MambaForCausalLM

from hfllm.fast_cpu import shared_context, shared_prefix, trained_head
from hfllm.fast_cpu.shared_context import prefix_groups
from hfllm.inference import logits, loglik
from hfllm.inference.loglik import (
    continuation,
    document_nats,
    split_continuation,
    token_logprobs,
    token_scores,
    windows,
)
from hfllm.inference.prompts import start_ids
from hfllm.modeling.batching import ScoringRequest
from hfllm.tokenization.encode import encode_text

TEXTS = [
    "Number 4 is a baker with 4 cats.",
    "Good.",
    " ".join(f"Number {i} is a baker." for i in range(30)),
    "Caf\u00e9 \u2603",
]


def naive(model, ids, start):
    """Log-probabilities of ids[start:], one forward of one row."""
    with torch.no_grad():
        logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return torch.tensor([logprobs[t - 1, ids[t]] for t in range(start, len(ids))])


@pytest.mark.parametrize("budget", [2**25, 320 * 40, 1])
@pytest.mark.parametrize("plain_head", [True, False])
def test_batched_scores_are_those_of_each_row_alone(model, monkeypatch, budget, plain_head):
    monkeypatch.setattr(logits, "MAX_LOGITS", budget)
    monkeypatch.setattr(trained_head, "_has_plain_head", {model: plain_head})
    torch.manual_seed(0)
    rows = []
    for length, start in ((5, 1), (40, 38), (17, 9), (2, 1), (40, 3)):
        rows.append(ScoringRequest(torch.randint(10, 300, (length,)).tolist(), start))
    for row, scores in zip(rows, token_logprobs(model, rows), strict=True):
        torch.testing.assert_close(scores, naive(model, row.ids, row.start), atol=1e-5, rtol=1e-5)


def test_what_all_rows_of_a_batch_begin_with_is_run_once(model, monkeypatch):
    torch.manual_seed(0)
    start = torch.randint(10, 300, (20,)).tolist()
    # Each row has less than half in common with the next.
    ends = [torch.randint(10, 300, (n,)).tolist() for n in (30, 25, 41, 33, 28)]
    rows = [ScoringRequest(start + [i] + end, 24) for i, end in enumerate(ends)]
    seen = []
    monkeypatch.setattr(shared_prefix, "MIN_SAVED", 40)
    token_logprobs(model, rows)  # the model is tried
    first: torch.nn.Module = model.model.layers[0]
    hook = first.register_forward_hook(lambda _, args, __: seen.append(tuple(args[0].shape[:2])))
    found = token_logprobs(model, rows)
    hook.remove()
    assert seen == [(1, 20), (5, 42)]
    for row, scores in zip(rows, found, strict=True):
        torch.testing.assert_close(scores, naive(model, row.ids, row.start), atol=1e-5, rtol=1e-5)


def test_batches_keep_every_row_once_and_stay_within_the_budget(monkeypatch):
    monkeypatch.setattr(logits, "MAX_LOGITS", 500)
    monkeypatch.setattr(logits, "MAX_BATCH_TOKENS", 400)
    rows = [ScoringRequest([0] * n, max(1, n - 5)) for n in range(2, 60)]
    found = list(logits.batches(rows, 10))
    assert sorted(i for batch in found for i in batch) == list(range(len(rows)))
    sizes = []
    for batch in found:
        scored = sum(len(rows[i].ids) - rows[i].start for i in batch)
        tokens = len(batch) * max(len(rows[i].ids) for i in batch)
        assert scored * 10 <= 500 and tokens <= 400
        sizes.append((scored * 10 == 500, tokens > 340))
    assert any(full for full, _ in sizes) and any(full for _, full in sizes)
    assert max(map(len, found)) > 5


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 23, 64])
@pytest.mark.parametrize("overlap", [1, 2, 7])
def test_windows_score_every_token_but_the_first_once(length, overlap):
    ids = list(range(length))
    parts = list(windows(ids, 8, overlap))
    assert [i for part in parts for i in part.ids[part.start :]] == ids[1:]
    for part in parts:
        assert len(part.ids) <= 8
        assert part.ids == list(range(part.ids[0], part.ids[0] + len(part.ids)))
        assert part.start >= min(overlap, part.ids[part.start])


def test_a_uniform_model_has_log2_v_bits_per_token(model, tokenizer):
    uniform = copy.deepcopy(model)
    with torch.no_grad():
        uniform.lm_head.weight.zero_()
    nats = document_nats(uniform, tokenizer, TEXTS)
    for text, found in zip(TEXTS, nats, strict=True):
        tokens = len(encode_text(tokenizer, text))
        assert found == pytest.approx(tokens * math.log(len(tokenizer)), rel=1e-5)
    assert len(encode_text(tokenizer, TEXTS[2])) > 96, "one text must need several windows"


def test_short_documents_are_scored_after_bos_and_without_eos(model, tokenizer):
    for text in (TEXTS[0], TEXTS[3]):
        ids = [tokenizer.bos_token_id, *encode_text(tokenizer, text)]
        expected = -naive(model, ids, 1).sum()
        assert document_nats(model, tokenizer, [text])[0] == pytest.approx(
            float(expected), rel=1e-5
        )


def test_an_empty_document_costs_nothing(model, tokenizer):
    assert document_nats(model, tokenizer, ["", TEXTS[1]])[0] == 0.0


def test_continuations_tokenise_as_one_text(tokenizer):
    bos = start_ids(tokenizer)
    for context, text in (
        ("Number 4 is ", "a baker."),
        ("Number 4 is", " a baker."),
        ("", "Good."),
    ):
        before, after = split_continuation(tokenizer, context, text)
        assert before + after == bos + encode_text(tokenizer, context + text)
        assert tokenizer.decode(after) == (" a baker." if context else text)


def test_a_long_context_is_cut_on_the_left():
    row = continuation(list(range(100)), [7, 8], 10)
    assert row == ScoringRequest([*range(92, 100), 7, 8], 8)
    with pytest.raises(ValueError, match="exceeds the model's 3 positions"):
        continuation([1], [1, 2, 3], 3)


def shared_rows(tokenizer):
    """Questions with two to four choices of different lengths, and rows that stand alone."""
    rows = []
    for i, count in enumerate((2, 4, 3, 1)):
        context = encode_text(tokenizer, f"Who is number {i}? " * 3)
        for k in range(count):
            tail = encode_text(tokenizer, " a baker with cats."[: 3 + 5 * k])
            rows.append(ScoringRequest([1, *context, *tail], len(context) + 1))
    return [*rows, ScoringRequest([1, 9, 8], 1), ScoringRequest([1, 9], 1)]


def test_choices_behind_one_context_are_scored_as_each_alone(model, tokenizer, monkeypatch):
    rows = shared_rows(tokenizer)
    assert prefix_groups(rows) == [[0, 1], [2, 3, 4, 5], [6, 7, 8]]
    calls = []
    trees = shared_context.tree_logits
    monkeypatch.setattr(
        shared_context, "tree_logits", lambda *a: calls.append(len(a[1])) or trees(*a)
    )
    together = token_scores(model, rows)
    assert calls == [1, 3], "the first group is tried alone, then all are taken"
    alone = [token_scores(model, [row])[0] for row in rows]
    for one, two in zip(together, alone, strict=True):
        torch.testing.assert_close(one.logprobs, two.logprobs, atol=1e-5, rtol=0)
        assert torch.equal(one.greedy, two.greedy)


def test_contexts_that_begin_alike_share_that_much(model, tokenizer, monkeypatch):
    rows = []
    for number in range(3):  # as WinoGrande's: another context each, the same text behind them
        for name in ("baker", "cat"):
            ids = [1, *encode_text(tokenizer, f"{number} is {number}. Who is number 4? The {name}")]
            rows.append(ScoringRequest(ids + encode_text(tokenizer, " is."), len(ids)))
    rows += [ScoringRequest(row.ids, 2) for row in rows[:2]]  # scored within what they share, too
    assert prefix_groups(rows) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    calls = []
    trees = shared_context.tree_logits
    monkeypatch.setattr(
        shared_context, "tree_logits", lambda *a: calls.append(len(a[1])) or trees(*a)
    )
    for row, scores in zip(rows, token_scores(model, rows), strict=True):
        expected = naive(model, row.ids, row.start)
        torch.testing.assert_close(scores.logprobs, expected, atol=1e-5, rtol=1e-5)
    assert sum(calls) == 5  # one to try it


@pytest.mark.parametrize("context", [[5], [5] * 9, [5, 6, 7, 8, 5]])
def test_the_trial_tells_a_model_that_ignores_the_mask(own_model, monkeypatch, context):
    decoder = own_model.get_decoder()
    assert shared_context.supports_tree_attention(own_model, context, 96)
    whole = decoder.forward
    monkeypatch.setattr(
        decoder, "forward", lambda *a, **k: whole(*a, **k | {"attention_mask": None})
    )
    assert not shared_context.supports_tree_attention(own_model, context, 96)


def test_questions_with_a_preamble_in_common_stay_apart():
    preamble, rows = [1, *range(8, 60)], []
    for question in range(3):
        context = [*preamble, 100 + question, 7]
        rows += [ScoringRequest([*context, choice], len(context)) for choice in (3, 4, 5)]
    assert prefix_groups(rows) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_too_little_in_common_is_not_shared():
    long, short = [1, *range(8, 30)], [1, *range(8, 15)]
    assert prefix_groups([ScoringRequest(long, 20), ScoringRequest([*long, 5], 20)]) == [[0, 1]]
    assert (
        prefix_groups([ScoringRequest([*short, 2], 8), ScoringRequest([*short, *range(40, 60)], 9)])
        == []
    )
    assert prefix_groups([ScoringRequest([1, 2, 3], 2), ScoringRequest([1, 2, 4], 2)]) == []
    many = [ScoringRequest([*long, n], len(long)) for n in range(shared_context.MAX_MEMBERS + 2)]
    assert [len(group) for group in prefix_groups(many)] == [shared_context.MAX_MEMBERS, 2]


def test_a_model_that_takes_no_such_mask_is_scored_row_by_row(model, tokenizer, monkeypatch):
    rows = shared_rows(tokenizer)
    expected = token_scores(model, rows)
    trees = shared_context.tree_logits

    def refuses(*_):
        raise TypeError("no position_ids")

    for broken in (lambda *a: trees(*a) * 0.9, refuses):
        monkeypatch.setattr(shared_context, "tree_logits", broken)
        for one, two in zip(token_scores(model, rows), expected, strict=True):
            torch.testing.assert_close(one.logprobs, two.logprobs, atol=1e-5, rtol=0)


def test_batches_of_trees_are_bounded_and_lose_none():
    trees = [
        shared_context.tree_of([ScoringRequest([1] * n + tail, n) for tail in ([2] * 3, [3] * 2)])
        for n in (9, 400, 30, 2000, 2)
    ]
    found = list(shared_context.batches(trees, 12))
    assert sorted(i for batch in found for i in batch) == list(range(5))
    for batch in found:
        assert sum(len(trees[i].targets) for i in batch) <= 12
        assert len(batch) * max(len(trees[i].ids) for i in batch) <= 4096


@pytest.mark.parametrize(
    ("config", "shares"),
    [
        ({}, True),
        ({"sliding_window": 4}, False),
        ({"layer_types": ["full_attention", "sliding_attention"]}, False),
    ],
)
def test_windows_are_not_shared(own_model, config, shares):
    for name, value in config.items():
        setattr(own_model.config, name, value)
    assert shared_context.supports_tree_attention(own_model, list(range(7, 27)), 96) == shares


def test_a_head_that_is_not_all_of_the_logits_is_not_shared(own_model, monkeypatch):
    whole = own_model.forward

    def capped(*args, **kwargs):
        out = whole(*args, **kwargs)
        out.logits = 2 * torch.tanh(out.logits / 2)
        return out

    monkeypatch.setattr(own_model, "forward", capped)
    assert not shared_context.supports_tree_attention(own_model, list(range(7, 27)), 96)


def test_a_state_that_runs_along_the_row_is_not_shared(tokenizer):
    torch.manual_seed(0)
    mamba = MambaForCausalLM(
        MambaConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, state_size=4)
    ).eval()
    assert not shared_context.supports_tree_attention(mamba, list(range(7, 27)), 96)


def test_what_is_too_large_for_one_row_is_scored_row_by_row(model, tokenizer, monkeypatch):
    rows = shared_rows(tokenizer)
    expected = token_scores(model, rows)
    monkeypatch.setattr(loglik, "MAX_BATCH_TOKENS", 20)
    calls = []
    monkeypatch.setattr(shared_context, "tree_logits", lambda *a: calls.append(1))
    found = token_scores(model, rows)
    assert not calls
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one.logprobs, two.logprobs, atol=1e-5, rtol=0)
