"""The code blocks of README.md and of the pages that it was too short for."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md", "docs/commands.md", "docs/cluster.md", "docs/your-data.md", "docs/results.md",
    "docs/start-from-a-model.md",
)  # fmt: skip


def commands(*pages: str) -> list[str]:
    """Lines of the pages' bash blocks, each once, comments cut off and continued lines joined."""
    found: dict[str, None] = {}
    for page in pages or PAGES:
        text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
        for block in re.findall(r"```bash\n(.*?)```", text, flags=re.S):
            lines = [re.split(r"\s{2,}#", line)[0].strip() for line in block.splitlines()]
            found |= dict.fromkeys(line for line in lines if line and not line.startswith("#"))
    return list(found)


def recipe(door: int) -> str:
    """The first YAML block of "## Door N" in README.md."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(rf"^## Door {door}:.*?(?=^## )", text, re.S | re.M)
    assert section, f"README.md has no section `## Door {door}`"
    return re.search(r"```yaml\n(.*?)```", section[0], re.S)[1]
