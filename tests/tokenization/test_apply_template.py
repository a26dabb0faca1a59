"""Templates of every kind that the hub has: several under names, parts, two ends, errors."""

import json
import shutil
from importlib.resources import files

import pytest
from test_templates import SAID, chat, example, trained
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hfllm.inference.load import load_model
from hfllm.tokenization.apply_template import take_default_template
from hfllm.tokenization.config import TokenizerConfig
from hfllm.tokenization.loss_mask import mask_gate
from hfllm.tokenization.render import eot_token_id, render
from hfllm.tokenization.train import train_tokenizer
from hfllm.training.adapt_tokenizer import adapt_tokenizer

OPEN, END, EOS = "<|im_start|>", "<|im_end|>", "<|eos|>"
PARTS = (
    "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}"
    "{{ '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SYSTEM_AS_TEXT = PARTS.replace(
    "{% for part in m.content %}",
    "{% if m.role == 'system' %}{{ m.content + '' }}{% endif %}"
    "{% for part in m.content if m.role != 'system' %}",
)
TEXT = PARTS.replace("{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}"
                     "{% endif %}{% endfor %}", "{{ m.content }}")  # fmt: skip
TWO_ENDS = TEXT.replace("{{ '<|im_end|>' }}", "{{ '<|im_end|>' + eos_token }}")
LATE_EOS = TEXT.replace("{% if add_gen", "{% if not add_generation_prompt %}{{ '\n' + eos_token }}"
                        "{% endif %}{% if add_gen")  # fmt: skip


def made(template, extra=()):
    words = " ".join([*SAID, "system user assistant Be brief."]) * 30
    ours = train_tokenizer([words] * 3, TokenizerConfig(vocab_size=290)).backend_tokenizer
    parts = json.loads(ours.to_str()) | {"post_processor": None}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(parts)), pad_token="<|pad|>",
        bos_token="<|bos|>", eos_token=EOS, chat_template=template,
    )  # fmt: skip
    tokenizer.add_special_tokens({"additional_special_tokens": [OPEN, END, *extra]})
    return tokenizer


def with_system(said):
    return [{"role": "system", "content": "Be brief."}, *chat(said)]


@pytest.mark.parametrize("template", [PARTS, SYSTEM_AS_TEXT], ids=["parts", "system as text"])
@pytest.mark.parametrize("messages", [chat(SAID), with_system(SAID)], ids=["plain", "system"])
def test_a_template_that_reads_parts_gets_parts(template, messages):
    ours, plain = made(template), made(TEXT)
    for train in ("all", "last", "none"):
        assert render(ours, messages, train=train) == render(plain, messages, train=train)
    prompt = [render(t, messages[:-1], add_generation_prompt=True) for t in (ours, plain)]
    assert prompt[0] == prompt[1]
    spelled = [*messages[:-2], {"role": "user", "content": "a <|im_end|> b"}, messages[-1]]
    row = render(ours, spelled)
    assert row == render(plain, spelled)
    assert row.input_ids.count(eot_token_id(ours)) == len(messages)


@pytest.mark.parametrize("name", ["idefics3", "smolvlm", "llava_next", "qwen2_5_vl"])
def test_published_templates_of_models_that_see(name):
    template = (files("trl") / "chat_templates" / f"{name}.jinja").read_text()
    tokenizer = made(template, ["<end_of_utterance>", "</s>"])
    answers = trained(tokenizer, render(tokenizer, chat(SAID)))
    end = tokenizer.decode([eot_token_id(tokenizer)])
    assert [text.strip() for text in answers] == [SAID[1] + end, SAID[3] + end]


def test_the_end_of_an_answer_and_eos_behind_it_are_both_trained():
    tokenizer = made(TWO_ENDS)
    for train, runs in (("all", [SAID[1], SAID[3]]), ("last", [SAID[3]])):
        row = render(tokenizer, chat(SAID), train=train)
        assert trained(tokenizer, row) == [text + END + EOS for text in runs]
    assert eot_token_id(tokenizer) == tokenizer.convert_tokens_to_ids(END)
    report = mask_gate(tokenizer, [example(SAID)], 200)
    assert len(report.rows) == 1 and "not trained" not in report.text()


def test_command_r7bs_own_template():
    template = (files("trl") / "chat_templates" / "cohere2.jinja").read_text()
    extra = ["<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>",
             "<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|END_OF_TURN_TOKEN|>"]  # fmt: skip
    tokenizer = made(template, extra)
    tokenizer.eos_token = "<|END_OF_TURN_TOKEN|>"
    ends = "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>"
    row = render(tokenizer, chat(SAID))
    assert trained(tokenizer, row) == [SAID[1] + ends, SAID[3] + ends]


def test_an_eos_that_ends_the_text_and_no_turn_is_said():
    report = mask_gate(made(LATE_EOS), [example(SAID)], 200)
    assert r"not trained: '\n<|eos|>', written by the template after the last turn" in report.text()


def test_the_default_of_several_templates_is_taken_and_said(trained_folder):
    tokenizer = AutoTokenizer.from_pretrained(trained_folder)
    assert set(tokenizer.chat_template) == {"default", "tool_use"}
    (note,) = adapt_tokenizer(tokenizer, None)
    assert note.startswith("chat template: the tokenizer has several, 'default' is taken (tool_use")
    assert isinstance(tokenizer.chat_template, str)


def test_the_default_is_taken_in_chat_too(trained_folder, capsys):
    tokenizer = load_model(trained_folder)[1]
    assert isinstance(tokenizer.chat_template, str)
    assert "'default' is taken" in capsys.readouterr().err


@pytest.fixture()
def trained_folder(finished, tmp_path):
    folder = shutil.copytree(finished / "runs" / "tiny" / "sft" / "model", tmp_path / "model")
    (folder / "additional_chat_templates").mkdir()
    template = (folder / "chat_template.jinja").read_text()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text(template)
    return folder


def test_several_templates_without_a_default_are_refused_by_their_names():
    tokenizer = made({"rag": TEXT, "tool_use": TEXT})
    words = "has the chat templates rag, tool_use and none is named default: .* set chat_template"
    with pytest.raises(ValueError, match=words):
        take_default_template(tokenizer)
    with pytest.raises(ValueError, match=words):
        render(tokenizer, chat(SAID))
    only = made({"rag": TEXT})
    assert take_default_template(only) == "chat template: the tokenizer has several, 'rag' is taken"


WRONG = {
    "{% for m in messages %}{{ m.content }}": "line 1 of the chat template: Unexpected end",
    "{{ raise_exception('no system role') }}": "refuses the roles user, .*: no system role",
    "{{ messages[0].content + 1 }}": "refuses the roles user, .*: can only concatenate str",
    "{{ messages[0].content.split('</think>')[5] + 'x' }}": "refuses the roles user, .*",
    "{{ messages[9].content + '' }}": "refuses the roles user, .*: .*no element 9",
    "{{ 1 / 0 }}": "refuses the roles user, .*: division by zero",
    "{% for m in messages %}{{ m.text }}<|im_end|>{% endfor %}": "reads another key than `content`",
}


@pytest.mark.parametrize("template", WRONG)
def test_what_a_template_raises_is_one_line(template):
    with pytest.raises(ValueError, match=WRONG[template]) as caught:
        mask_gate(made(template), [example(SAID)], 200)
    assert "\n" not in str(caught.value)
