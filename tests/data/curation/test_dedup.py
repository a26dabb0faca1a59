"""Near duplicates: the similarity estimate, the bands, and two editions of real books."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from hfllm.data.curation.dedup import ExactIndex, NearIndex, choose_bands
from hfllm.data.curation.words import ngram_ids, split_words, word_ids

BOOKS = Path(__file__).parents[3] / "shared" / "data" / "text"


def ids(text: str) -> np.ndarray:
    return word_ids(split_words(text))


def test_words_keep_sums_apart_and_editions_together():
    assert split_words("37 + 45 is not 37 - 45") != split_words("37 + 45 is not 37 + 45")
    assert split_words("“Don’t—stop!”") == split_words('"_Don\'t_ -- stop!"')
    assert split_words("c-a-t") == ["c", "a", "t"]


def test_ngrams_are_equal_where_the_words_are():
    one, two = ngram_ids(ids("a b c d e"), 3), ngram_ids(ids("x b c d y"), 3)
    assert len(one) == 3
    assert set(one) & set(two) == {one[1]} == {two[1]}
    assert len(ngram_ids(ids("a b"), 3)) == 1
    assert len(ngram_ids(ids(""), 3)) == 0
    assert len(set(ngram_ids(ids("a b"), 2)) & set(ngram_ids(ids("b a"), 2))) == 0


def test_the_signature_estimates_the_jaccard_similarity():
    random = np.random.default_rng(0)
    index = NearIndex(hashes=512, similarity=0.8, shingle_words=1)
    for shared in (50, 80, 95):
        common = random.integers(0, 2**63, 2 * shared).astype(np.uint64)
        own = random.integers(0, 2**63, (2, 100 - shared)).astype(np.uint64)
        one, two = (index.sign(np.concatenate([common, part])) for part in own)
        true = 2 * shared / (2 * shared + 2 * (100 - shared))
        assert abs((one == two).mean() - true) < 0.07


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.9])
def test_bands_find_pairs_at_the_threshold(similarity):
    bands, rows = choose_bands(112, similarity)
    assert bands * rows <= 112
    assert 1 - (1 - similarity**rows) ** bands >= 0.97
    assert 1 - (1 - (similarity - 0.3) ** rows) ** bands < 0.75  # and not everything else


def test_exact_ignores_case_and_space_but_not_signs():
    index = ExactIndex()
    assert index.find_or_add("2 + 2 = 4", "a") is None
    assert index.find_or_add("2 * 2 = 4", "b") is None
    assert index.find_or_add(" 2  + 2\n= 4", "c") == "a"
    assert index.find_or_add("CAFÉ", "d") is None
    assert index.find_or_add("cafe\u0301", "e") == "d"


def test_other_editions_of_books_are_found():
    editions = BOOKS / "near_duplicate_editions.parquet"
    shards = sorted(BOOKS.glob("books-*.parquet"))
    if not editions.exists() or len(shards) < 4:
        pytest.skip(str(editions))
    twin = "lewis-carroll/alice-s-adventures-in-wonderland"
    others = pq.read_table(editions, filters=[("source", "=", f"eltec-eng-edition-of:{twin}")])
    index = NearIndex(hashes=112, similarity=0.8, shingle_words=5)
    for shard in shards:
        for row in pq.read_table(shard).filter(_starts(shard, twin)).to_pylist():
            assert index.find_or_add(ids(row["text"]), row["id"]) is None
    found = [index.find_or_add(ids(row["text"]), row["id"]) for row in others.to_pylist()]
    assert len(found) == 12
    assert all(name and name.startswith(twin) for name in found)


def _starts(shard: Path, title: str):
    import pyarrow.compute as pc

    return pc.starts_with(pc.field("id"), title)
