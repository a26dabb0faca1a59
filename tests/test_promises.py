"""Every claim under "What you can rely on" in README.md has tests, and they are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")


def claims() -> list[str]:
    """The first words of the README's claims, in bold."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme[readme.index("## What you can rely on") :]
    return [claim.rstrip(".") for claim in re.findall(r"^- \*\*(.+?)\*\*", section, re.M)]


def named_tests(claim: str) -> list[tuple[str, str]]:
    """(file, test) of the claim's section in docs/promises.md."""
    section = re.search(rf"^## {claim}\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M)
    assert section, f"docs/promises.md has no section {claim!r}"
    lines = re.findall(r"^- (\S+\.py): (.+)$", section[1], re.M)
    return [(file, name) for file, names in lines for name in names.split(", ")]


def test_every_claim_has_tests_and_every_section_is_a_claim():
    assert claims() == re.findall(r"^## (.+)$", PAGE, re.M) and len(claims()) >= 7
    assert all(len(named_tests(claim)) >= 2 for claim in claims())


def test_every_test_that_is_named_exists():
    gone = [
        f"{file}: {name}"
        for claim in claims()
        for file, name in named_tests(claim)
        if f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]
    assert not gone


def test_what_holds_on_two_processes_is_tested_on_two():
    for claim in ("Ledger", "Mask", "Isolation", "Manifests", "Resume", "PPO"):
        files = {ROOT / file for file, _ in named_tests(claim)}
        assert any("distributed" in path.parts for path in files)
