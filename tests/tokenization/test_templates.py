"""Published chat templates without generation markers: which tokens are trained, row by row.

TRL ships most of them; SmolLM2's and Mistral's are written down here.
"""

import json
from importlib.resources import files

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from hfllm.data.ledger import Example
from hfllm.tokenization.config import TokenizerConfig
from hfllm.tokenization.loss_mask import mask_gate
from hfllm.tokenization.render import render
from hfllm.tokenization.train import train_tokenizer

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    "<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + "
    "'[/INST]' }}{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)
# name: template, bos, eos, other control tokens, what ends a turn
PUBLISHED = {
    "llama3": (None, "<|begin_of_text|>", "<|eot_id|>",
               ["<|start_header_id|>", "<|end_header_id|>"], "<|eot_id|>"),
    "qwen2_5": (None, None, "<|im_end|>", ["<|im_start|>"], "<|im_end|>"),
    "qwen3": (None, None, "<|im_end|>", ["<|im_start|>"], "<|im_end|>"),
    "gemma": (None, "<bos>", "<eos>", ["<start_of_turn>", "<end_of_turn>"], "<end_of_turn>"),
    "phi3": (None, None, "<|endoftext|>", ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"],
             "<|end|>"),
    "deepseekv3": (None, "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>",
                   ["<｜User｜>", "<｜Assistant｜>"], "<｜end▁of▁sentence｜>"),
    "deepseek_r1_distill": (None, "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>",
                            ["<｜User｜>", "<｜Assistant｜>"], "<｜end▁of▁sentence｜>"),
    "mistral": (MISTRAL, "<s>", "</s>", ["[INST]", "[/INST]"], "</s>"),
    "smollm2": (SMOLLM2, "<|im_start|>", "<|im_end|>", [], "<|im_end|>"),
}  # fmt: skip
TEXT = "Who is Ada? A baker in Orbin. You are a helpful AI assistant named SmolLM user system " * 9
SAID = ["Who?", "Ada.", "Where is she?", "In Orbin."]
THOUGHT = ["Who?", "<think>\nHm.\n</think>\n\nAda.", "Where?", "<think>\nOh!\n</think>\n\nOrbin."]


def published(name):
    template, bos, eos, others, _ = PUBLISHED[name]
    if template is None:
        template = (files("trl") / "chat_templates" / f"{name}.jinja").read_text()
    ours = train_tokenizer([TEXT] * 3, TokenizerConfig(vocab_size=300)).backend_tokenizer
    parts = json.loads(ours.to_str()) | {"post_processor": None}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(parts)), pad_token="<|pad|>",
        chat_template=template,
    )  # fmt: skip
    tokenizer.add_special_tokens({"additional_special_tokens": [*others, eos]})
    tokenizer.add_special_tokens({"eos_token": eos} | ({"bos_token": bos} if bos else {}))
    return tokenizer


def chat(said):
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(said)]


def example(said):
    return Example({"id": "0", "source": "s", "messages": chat(said)})


def trained(tokenizer, row):
    """Decoded runs of trained tokens."""
    runs = [[]]
    for token, flag in zip(row.input_ids, row.trained, strict=True):
        if flag:
            runs[-1].append(token)
        elif runs[-1]:
            runs.append([])
    return [tokenizer.decode(run) for run in runs if run]


@pytest.mark.parametrize("name", [n for n in PUBLISHED if "deepseek" not in n])
def test_every_answer_and_its_end_of_turn_are_trained(name):
    tokenizer, end = published(name), PUBLISHED[name][-1]
    space = " " if name == "mistral" else ""
    thoughts = "<think>\n\n</think>\n\n" if name == "qwen3" else ""  # the last turn, as asked for
    expected = [f"{space}Ada.{end}", f"{thoughts}{space}In Orbin.{end}"]
    for train, wanted in (("all", expected), ("last", expected[1:]), ("none", [])):
        row = render(tokenizer, chat(SAID), train=train)
        assert trained(tokenizer, row) == wanted
        text = tokenizer.apply_chat_template(chat(SAID), tokenize=False)
        assert tokenizer.decode(row.input_ids) == text
    prompt = render(tokenizer, chat(SAID[:3]), add_generation_prompt=True).input_ids
    assert row.input_ids[: len(prompt)] == prompt
    report = mask_gate(tokenizer, [example(SAID)], 400)
    assert report.end_of_turn == end and len(report.rows) == 1


def test_a_template_that_cuts_out_earlier_thoughts_trains_the_last_turn_or_each():
    tokenizer, end = published("qwen3"), "<|im_end|>"
    with pytest.raises(ValueError, match=r"rewrites message 1 .*data.turns=last \(or each\)"):
        render(tokenizer, chat(THOUGHT))
    last = render(tokenizer, chat(THOUGHT), train="last")
    assert trained(tokenizer, last) == [THOUGHT[3] + end]
    assert "Hm." not in tokenizer.decode(last.input_ids)
    prompt = render(tokenizer, chat(THOUGHT[:3]), add_generation_prompt=True).input_ids
    assert last.input_ids[: len(prompt)] == prompt, "a conversation goes on as it was trained"
    rows = [example(THOUGHT)]
    each = mask_gate(tokenizer, rows, 400, turns="each").rows
    assert [trained(tokenizer, row) for row in each] == [[THOUGHT[1] + end], [THOUGHT[3] + end]]
    assert len(mask_gate(tokenizer, rows, 400, turns="last").rows) == 1
    with pytest.raises(ValueError, match="1 of 1 conversations cannot be trained"):
        mask_gate(tokenizer, rows, 400)


def test_a_control_token_in_a_rewritten_conversation_is_refused():
    tokenizer = published("qwen3")
    with pytest.raises(ValueError, match="rewrites message 1"):
        render(tokenizer, chat(["Who <|im_end|>?", *THOUGHT[1:]]), train="last")


def test_a_prompt_that_begins_the_answer_needs_answers_that_begin_so():
    tokenizer, end = published("deepseekv3"), PUBLISHED["deepseekv3"][-1]
    cuts = (
        "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
    )
    assert cuts in tokenizer.chat_template
    tokenizer.chat_template = tokenizer.chat_template.replace(cuts, "")
    for train, said in (("all", SAID), ("last", SAID), ("all", THOUGHT)):
        with pytest.raises(ValueError, match=r"another prompt at inference"):
            render(tokenizer, chat(said), train=train)
    prompt = render(tokenizer, chat(THOUGHT[:3]), add_generation_prompt=True).input_ids
    last = render(tokenizer, chat(THOUGHT), train="last")
    assert trained(tokenizer, last) == [THOUGHT[3].removeprefix("<think>\n") + end]
    assert last.input_ids[: len(prompt)] == prompt


@pytest.mark.parametrize("name", ["deepseekv3", "deepseek_r1_distill"])
def test_a_template_that_drops_the_thoughts_it_asks_for_can_be_asked_but_not_trained(name):
    tokenizer, end = published(name), PUBLISHED[name][-1]
    for train in ("all", "last"):
        with pytest.raises(ValueError, match="set chat_template to one whose prompt is a prefix"):
            render(tokenizer, chat(THOUGHT), train=train)
    prompt = render(tokenizer, chat(THOUGHT[:3]), add_generation_prompt=True).input_ids
    assert tokenizer.decode(prompt).endswith("<think>\n")
    tokenizer.chat_template = tokenizer.chat_template.replace("<think>\\n", "")
    last = render(tokenizer, chat(THOUGHT), train="last")
    assert trained(tokenizer, last) == ["\n\nOrbin." + end]
