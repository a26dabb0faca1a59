"""A file that a docstring, a comment or a page of the docs names is there under that name."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"(?<![\w/.*{-])((?:[\w-]+/)*[a-z_-]+\.(?:py|jinja|sbatch))\b")
# The examples' own, and what a model's folder holds.
OTHERS = {"distill.py", "my_stages/distill.py", "dpo.py", "stages/dpo.py", "chat_template.jinja",
          "tests/stages/test_dpo.py", "my_rewards.py", "script.py",
          # llama.cpp's
          "conversion/llama.py", "convert_hf_to_gguf.py", "convert_lora_to_gguf.py"}  # fmt: skip
PAGES = ["README.md", "CONTRIBUTING.md", "docs/your-own-stage.md", "docs/fast-paths.md",
         "docs/start-from-a-model.md", "docs/results.md", "docs/commands.md",
         "docs/your-data.md", "docs/cluster.md", "docs/promises.md",
         "launch/deepspeed/README.md"]  # fmt: skip
CODE = ["src", "benchmarks", "tools", "launch", "configs", ".ci"]


def files(*folders: str) -> list[Path]:
    return [p for folder in folders for p in (ROOT / folder).rglob("*") if p.is_file()]


def test_named_files_are_there():
    parts = [path.relative_to(ROOT).parts for path in files(*CODE, "tests", "docs")]
    known = {"/".join(path[i:]) for path in parts for i in range(len(path))} | OTHERS
    text = [p for p in files(*CODE) if p.suffix in (".py", ".yaml", ".sbatch", "")]
    gone = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in [ROOT / page for page in PAGES] + text
        for name in NAMED.findall(path.read_text(encoding="utf-8"))
        if name not in known
    ]
    assert not gone
