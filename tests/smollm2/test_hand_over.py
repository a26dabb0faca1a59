"""What a LoRA step hands on: an ordinary folder, and an adapter for plain peft."""

import json
import subprocess
import sys

import pytest
import torch
from test_verbs import hfllm
from transformers import GenerationConfig

PROMPT = "The capital of France is"
SPEAK = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
{extra}
tokenizer = AutoTokenizer.from_pretrained({folder!r})
model = AutoModelForCausalLM.from_pretrained({base!r}, dtype=torch.float32)
{wrap}
with torch.no_grad():
    logits = model.eval()(**tokenizer({prompt!r}, return_tensors="pt")).logits
assert not any(name.startswith("hfllm") for name in sys.modules)
torch.save(logits, {out!r})
"""


@pytest.fixture(scope="module")
def step(folder, tmp_path_factory):
    """runs/hand/sft after two steps on four chats."""
    place = tmp_path_factory.mktemp("hand")
    chats = [
        {"messages": [{"role": "user", "content": f"What is {n} and {n}?"},
                      {"role": "assistant", "content": f"It is {2 * n}."}]}
        for n in range(8)
    ]  # fmt: skip
    (place / "chats.jsonl").write_text("\n".join(map(json.dumps, chats)), encoding="utf-8")
    recipe = {
        "name": "hand",
        "run_dir": str(place / "runs"),
        "sft": {
            "init": str(folder),
            "peft": {"r": 4, "target_modules": "all-linear"},
            "data": {"seq_len": 64, "mixture": [{"path": str(place / "chats.jsonl")}]},
            "trainer": {"max_steps": 2, "per_device_train_batch_size": 2, "learning_rate": 1e-2},
        },
        "report": {},
    }
    (place / "hand.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    done = hfllm("run", place / "hand.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "runs" / "hand" / "sft"


def logits(tmp_path, folder, base, extra="", wrap=""):
    """The logits of a process of its own, which knows transformers (and peft) alone."""
    out = tmp_path / "logits.pt"
    code = SPEAK.format(
        folder=str(folder), base=str(base), prompt=PROMPT, out=str(out), extra=extra, wrap=wrap
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return torch.load(out)


def test_the_merged_folder_is_an_ordinary_model_and_the_adapter_is_pefts(step, folder, tmp_path):
    from hfllm.inference.load import load_model

    model, tokenizer = load_model(step / "model")
    with torch.no_grad():
        ours = model(**tokenizer(PROMPT, return_tensors="pt")).logits
    merged = logits(tmp_path, step / "model", step / "model")
    assert torch.equal(merged, ours)
    peft = logits(
        tmp_path, step / "adapter", folder, "from peft import PeftModel",
        f"model = PeftModel.from_pretrained(model, {str(step / 'adapter')!r})",
    )  # fmt: skip
    torch.testing.assert_close(peft, merged, atol=2e-3, rtol=1e-3)
    base = logits(tmp_path, folder, folder)
    assert (base - merged).abs().max() > 0.05  # two steps at 1e-2 do move it


def test_generation_stops_after_the_pad_token_was_changed(step):
    """SmolLM2 pads with its end of turn; the step gave it a pad token of its own."""
    from hfllm.inference.generate import Generator
    from hfllm.inference.load import load_model

    stops = GenerationConfig.from_pretrained(step / "model")
    model, tokenizer = load_model(step / "model")
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert end in stops.eos_token_id and stops.pad_token_id not in stops.eos_token_id
    asked = [{"role": "user", "content": "What is 2 and 2?"}]
    (answer,) = Generator(model, tokenizer).answer([asked], 64)
    assert answer.ended and answer.text
    ids = tokenizer.apply_chat_template([asked], add_generation_prompt=True, return_tensors="pt")
    written = model.generate(**ids, max_new_tokens=64, do_sample=False)  # transformers' own
    assert written[0, -1] == end


@pytest.mark.parametrize("part", ["model", "adapter"])
def test_both_chat_and_are_evaluated(step, part, tmp_path):
    done = hfllm("chat", step / part, typed="What is the capital of France?\n")
    assert done.returncode == 0 and done.stdout.strip(), done.stderr
    tests = tmp_path / "tests.jsonl"
    row = {"query": "The capital of France is", "choices": ["Paris", "a fish"], "gold": 0}
    tests.write_text(json.dumps(row), encoding="utf-8")
    done = hfllm("eval", step / part, "--tests", tests)
    assert done.returncode == 0 and "acc" in done.stdout, done.stderr


def test_the_card_names_the_base_and_its_licence(step):
    card = (step / "model" / "README.md").read_text(encoding="utf-8")
    assert "by HuggingFaceTB, from SmolLM2-135M-Instruct.Q4" in card
    assert "licence apache-2.0" in card
