"""The Modelfile: the chat template as a Go template, the tokens that end an answer, the places."""

import json
import re

import pytest
from export_models import make, save

from hfllm.export.modelfile import go_template, template_parts

CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|eos|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('no system') }}{% endif %}"
    "[{{ m.role }}]{{ m.content }}<|eos|>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
STRIPS = CHATML.replace("m.content", "(m.content | upper)")


@pytest.fixture()
def talker(tokenizer):
    """The tokenizer with another template; its own is put back."""
    own = tokenizer.chat_template

    def with_template(template):
        tokenizer.chat_template = template
        return tokenizer

    yield with_template
    tokenizer.chat_template = own


def test_our_own_template(tokenizer):
    assert go_template(tokenizer) == (
        "{{ if .System }}<|system|>{{ .System }}<|end|>{{ else }}{{ end }}"
        '{{ range .Messages }}{{ if eq .Role "user" }}<|user|>{{ .Content }}<|end|>'
        '{{ else if eq .Role "assistant" }}<|assistant|>{{ .Content }}<|end|>{{ end }}{{ end }}'
        "<|assistant|>"
    )


def test_a_system_message_that_the_template_writes_by_itself(talker):
    parts = template_parts(talker(CHATML))
    assert parts.begin == "<|im_start|>system\nBe kind.<|im_end|>\n"
    assert parts.system == ("<|im_start|>system\n", "<|eos|>\n")
    assert parts.assistant == ("<|im_start|>assistant\n", "<|eos|>\n")
    assert parts.prompt == "<|im_start|>assistant\n"


def test_a_template_without_system_messages(talker):
    parts = template_parts(talker(NO_SYSTEM))
    assert (parts.begin, parts.system, parts.user) == ("", None, ("[user]", "<|eos|>"))


def test_a_template_that_is_more_than_parts_is_left_to_the_user(tmp_path, talker, export):
    tokenizer = talker(STRIPS)
    folder = save(tmp_path / "model", make(tokenizer), tokenizer)
    said = export(folder, "gguf", tmp_path / "a.gguf", "--no-check")
    assert "note: no TEMPLATE in the Modelfile" in said
    assert "TEMPLATE" not in (tmp_path / "a.Modelfile").read_text()


def test_the_file_names_model_template_and_stops(tmp_path, folder, export, tokenizer):
    said = export(folder, "gguf", tmp_path / "a.gguf")
    text = (tmp_path / "a.Modelfile").read_text()
    assert text.startswith('FROM ./a.gguf\nTEMPLATE """')
    assert re.findall('PARAMETER stop "(.*)"', text) == ["<|eos|>", "<|end|>"]
    assert f"ollama create a -f {tmp_path / 'a.Modelfile'}" in said


def test_a_base_model_continues_text(tmp_path, tokenizer, export):
    step = tmp_path / "pretrain"
    save(step / "model", make(tokenizer), tokenizer)
    (step / "manifest.json").write_text(json.dumps({"chat": False}))
    export(step, "gguf", tmp_path / "a.gguf")
    assert 'TEMPLATE """{{ .Prompt }}"""' in (tmp_path / "a.Modelfile").read_text()


def test_lm_studio_finds_it_below_publisher_and_model(tmp_path, folder, export):
    export(folder, "gguf", tmp_path, "--lm-studio", "me/mine", "--dtype", "q8_0")
    assert (tmp_path / "me" / "mine" / "mine-Q8_0.gguf").is_file()
