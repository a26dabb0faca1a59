"""docs/reference.md is what the code says, and every key has a word."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
assert SPEC and SPEC.loader
reference = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(reference)
PAGE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


def test_the_page_is_what_the_code_and_the_installed_libraries_say():
    if reference.libraries() not in PAGE:
        pytest.skip(f"the page is of other versions than {reference.libraries()}")
    assert reference.reference() == PAGE, "run `python tools/reference.py`"


def test_every_key_has_a_word_on_what_it_does():
    rows = re.findall(r"^\| (`.*?`) \|.*\| (.*?) \|$", PAGE, re.M)
    assert len(rows) > 300
    assert [key for key, words in rows if not words.strip()] == []


def test_a_default_of_ours_stands_with_its_reason_and_a_refused_key_with_its_place():
    section = PAGE.split("### sft.trainer")[1].split("\n## ")[0]
    assert "| `max_length` | " in section and "refused | set the step's data.seq_len |" in section
    assert re.search(
        r"\| `warmup_steps` \| .*`10`: Adam's second moment needs a few steps", section
    )
