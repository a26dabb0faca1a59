"""Data formats on public data sets, if they are in shared/: what is kept, and why not the rest."""

from pathlib import Path

import pytest

from hfllm.data.ledger import Ledger
from hfllm.data.reading.examples import read_chats, read_pairs, read_prompts
from hfllm.recipe.config import SourceConfig

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize(
    ("read", "name", "kept", "reasons"),
    [
        (read_chats, "sft/alpaca_en_demo.jsonl.gz", 987, {}),
        (read_chats, "sft/chat_glaive_toolcall.jsonl.gz", 300, {}),
        (read_chats, "sft/chat_topical.parquet", 1617, {}),
        (read_chats, "sft/chat_oasst.jsonl.gz", 678, {}),
        (read_chats, "sft/dolly_3k.jsonl.gz", 2697, {}),
        (read_pairs, "preference/dpo_en_demo.jsonl.gz", 300, {}),
        (
            read_pairs,
            "preference/hh_harmless_base.jsonl.gz",
            1148,
            {"double_turn": 6, "empty_answer": 2},
        ),
        (read_pairs, "preference/llmbar.jsonl.gz", 419, {}),
        (
            read_pairs,
            "preference/pandalm_human.jsonl.gz",
            842,
            {"tie": 105, "empty_answer": 52},
        ),
        (read_prompts, "verifiable/svamp.jsonl.gz", 700, {}),
        (read_prompts, "verifiable/gsm8k_test.jsonl.gz", 660, {}),
    ],
)
def test_public_rows_are_read_and_conserved(read, name, kept, reasons):
    if not (DATA / name).exists():
        pytest.skip(name)
    ledger = Ledger()
    for row in read([SourceConfig(path=str(DATA / name))], lambda step: DATA, ledger):
        ledger.keep(row)
    ledger.check()
    assert ledger.total("kept") == kept
    assert ledger.reasons() == reasons
