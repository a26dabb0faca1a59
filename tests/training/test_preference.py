"""Preference pairs as TRL's rows: dropped pairs are counted, no prompt is in both splits."""

import gzip
import itertools
import json
import random
from pathlib import Path

import pytest

from hfllm.data.ledger import Example, Ledger
from hfllm.tokenization.config import TokenizerConfig
from hfllm.tokenization.render import eot_token_id, render
from hfllm.tokenization.train import train_tokenizer
from hfllm.training.preference import length_baseline, length_grouped, pair_rows, split_by_prompt

REAL = Path(__file__).parents[3] / "shared/data/preference/hh_harmless_base.jsonl.gz"


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["Who is Ada? A baker in the town of Orbin. " * 9], TokenizerConfig(290))


def pair(question, chosen, rejected, **extra):
    say = [{"role": "user", "content": question}]
    sides = {"chosen": chosen, "rejected": rejected}
    answers = {k: [{"role": "assistant", "content": v}] for k, v in sides.items()}
    return Example({"source": "s", "prompt": say, **answers, **extra})


def expecting(pairs):
    ledger = Ledger()
    for one in pairs:
        ledger.expect(one)
    return ledger


def test_rows_are_the_rendering_and_end_with_the_end_of_turn(tokenizer):
    given = pair("Who is Ada?", "A baker.", "A town. <|end|>")
    (row,) = pair_rows(tokenizer, [given], 100)
    for side in ("chosen", "rejected"):
        ids = row[f"{side}_ids"]
        assert ids == render(tokenizer, given["prompt"] + given[side]).input_ids
        assert ids[-1] == eot_token_id(tokenizer)
        assert ids.count(eot_token_id(tokenizer)) == 2


def test_what_does_not_fit_is_counted_by_reason(tokenizer):
    tool = pair("a", "b", "c", prompt=[{"role": "tool", "content": "x"}])
    pairs = [
        pair("Who?", "Ada.", "Bruno."),
        pair("Who?", "Ada.", "Bruno. " * 50, id="long"),
        pair("Who?", "Ada.", "Ada."),
        tool,
    ]
    ledger = expecting(pairs)
    rows = pair_rows(tokenizer, pairs, 64, ledger)
    assert len(rows) == 1
    assert ledger.reasons() == {"too_long": 1, "same_answer": 1, "template": 1}
    ledger.check()
    assert ledger.total("kept", "tokens") == sum(map(len, rows[0].values()))
    assert ledger.total("dropped", "tokens") > 64


def test_a_pair_of_exactly_max_length_is_kept(tokenizer):
    (row,) = pair_rows(tokenizer, [pair("Who?", "Ada.", "Bruno!")], 100)
    longest = max(map(len, row.values()))
    assert pair_rows(tokenizer, [pair("Who?", "Ada.", "Bruno!")], longest) == [row]
    with pytest.raises(ValueError, match=r"too_long, first row 0 \(id 'p7'\)"):
        pair_rows(tokenizer, [pair("Who?", "Ada.", "Bruno!", id="p7")], longest - 1)


def test_no_pairs_are_refused(tokenizer):
    with pytest.raises(ValueError, match="gave none"):
        pair_rows(tokenizer, [], 10)


def test_length_baseline_counts_ties_half():
    pairs = [pair("?", "a" * a, "b" * b) for a, b in ((3, 2), (3, 1), (2, 2), (1, 2))]
    assert length_baseline(pairs) == 2.5 / 4
    with pytest.raises(ValueError, match="no pairs"):
        length_baseline([])


def test_split_keeps_prompts_apart_and_is_stable():
    pairs = [pair(f"Who is {i % 20}?", f"a{i}", "b") for i in range(100)]
    train, held = split_by_prompt(pairs, 0.2, seed=0)
    asked = [{p["prompt"][0]["content"] for p in side} for side in (train, held)]
    assert len(asked[0]) == 16
    assert len(asked[1]) == 4
    assert not asked[0] & asked[1]
    assert len(train) + len(held) == 100
    assert split_by_prompt(pairs[::-1], 0.2, seed=0)[1] == held[::-1]
    assert split_by_prompt(pairs, 0.2, seed=1)[1] != held


def test_conversations_that_begin_alike_stay_on_one_side():
    pairs = []
    for i in range(40):
        one = pair(f"Who is {i}?", "a", "b")
        more = [{"role": "assistant", "content": "Me."}, {"role": "user", "content": "Why?"}]
        pairs += [one, one | {"prompt": [*one["prompt"], *more]}]
    train, held = split_by_prompt(pairs, 0.25, seed=0)
    first = [{p["prompt"][0]["content"] for p in side} for side in (train, held)]
    assert len(first[1]) == 10 and len(held) == 20 and not first[0] & first[1]


def test_the_pairs_behind_the_rows_are_told(tokenizer):
    given = [pair("a", "b", "c"), pair("a", "b " * 500, "c"), pair("x", "y", "z")]
    kept = []
    assert len(pair_rows(tokenizer, given, 100, kept=kept)) == 2
    assert kept == [given[0], given[2]]


@pytest.mark.parametrize(("share", "message"), [(0.0, "not a share"), (0.9, "cannot be split")])
def test_impossible_splits_are_refused(share, message):
    with pytest.raises(ValueError, match=message):
        split_by_prompt([pair("a", "b", "c")] * 3, share, seed=0)


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL.name} is missing")
def test_real_pairs_add_up(tokenizer):
    with gzip.open(REAL, "rt") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(200), strict=False)]
    pairs = [pair("Human: ?", str(row["chosen"]), str(row["rejected"])) for row in rows]
    ledger = expecting(pairs)
    kept = []
    fitting = pair_rows(tokenizer, pairs, 400, ledger, kept)
    ledger.check()
    assert len(kept) == len(fitting) == len(rows) - ledger.total("dropped")
    assert 0.2 < length_baseline(kept) < 0.8


def test_length_grouped_takes_every_row_once_a_pass_and_wastes_little():
    rng = random.Random(1)
    lengths = [rng.randint(10, 80) for _ in range(1003)]
    order = length_grouped(lengths, per_step=8, total=2 * 1003, seed=0)
    assert sorted(order[:1003]) == sorted(order[1003:]) == list(range(1003))
    assert order[:1003] != order[1003:]

    def padded(order):
        steps = [order[i : i + 8] for i in range(0, 992, 8)]
        return sum(8 * max(lengths[i] for i in step) for step in steps) / sum(lengths)

    assert padded(order) < 1.15
    assert padded(order[1008:]) < 1.15  # the second pass is cut as well as the first
    assert padded(range(1003)) > 1.5
    # short and long steps in random order, not an ascending curriculum
    firsts = [lengths[order[i]] for i in range(0, 1000, 8)]
    assert sum(a > b for a, b in itertools.pairwise(firsts)) > 30


def test_length_grouped_is_a_function_of_the_seed_and_ends_where_it_is_told():
    lengths = [5, 9, 7, 5, 6]
    assert len(length_grouped(lengths, 2, 4, 0)) == 4
    assert length_grouped(lengths, 2, 12, 0)[:4] == length_grouped(lengths, 2, 4, 0)
    assert length_grouped(lengths, 2, 12, 0) != length_grouped(lengths, 2, 12, 1)
    assert sorted(length_grouped(lengths, 8, 5, 0)) == [0, 1, 2, 3, 4]  # fewer rows than a step
