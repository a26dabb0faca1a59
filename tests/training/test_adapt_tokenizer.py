"""A downloaded model: another template, no pad token, with and without an adapter."""

import json
import shutil

import pytest
import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from hfllm.runs.manifest import Manifest
from hfllm.tokenization.compare import difference
from hfllm.tokenization.config import TokenizerConfig
from hfllm.tokenization.train import train_tokenizer
from hfllm.training.adapt_tokenizer import adapt_tokenizer, new_ids, resize_embeddings
from tiny import Workspace, document

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def their_tokenizer():
    """ChatML; pads with its end of turn and has no token to spare."""
    ours = train_tokenizer([document(i) for i in range(40)], TokenizerConfig(vocab_size=300))
    parts = json.loads(ours.backend_tokenizer.to_str()) | {"post_processor": None}
    names = {"<|im_end|>": "<|eos|>", "<|im_start|>": "<|bos|>", **{f"x{i}": f"<|{n}|>" for i, n in
             enumerate(("pad", "system", "user", "assistant", "end"))}}  # fmt: skip
    text = json.dumps(parts)
    for new, old in names.items():
        text = text.replace(old, new)
    parts = json.loads(text)
    parts["added_tokens"] = [t for t in parts["added_tokens"] if t["content"].startswith("<|im")]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(parts)), chat_template=CHATML,
        eos_token="<|im_end|>", pad_token="<|im_end|>",
    )  # fmt: skip


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def theirs(request, tmp_path_factory):
    """A model folder whose vocabulary is full."""
    folder, tokenizer = tmp_path_factory.mktemp("theirs"), their_tokenizer()
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=2, tie_word_embeddings=request.param, max_position_embeddings=128,
        )
    )  # fmt: skip
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_notes_say_what_was_changed():
    kept = their_tokenizer()
    pad = "pad token <|pad|> (added) instead of <|im_end|>, which ends a turn or a text"
    assert adapt_tokenizer(kept, None) == [pad]
    assert adapt_tokenizer(kept, "keep") == [] and kept.chat_template == CHATML
    replaced = their_tokenizer()
    template, pad = adapt_tokenizer(replaced, "hfllm")
    assert template == (
        "chat template: hfllm, 5 tokens added; the model was trained on another and has to learn "
        "this one"
    )
    assert pad.startswith("pad token <|pad|> (added)")
    assert replaced.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False) == (
        "<|bos|><|user|>a<|end|>"
    )
    assert len(new_ids(replaced, their_tokenizer())) == 6


def test_new_rows_are_the_mean_of_the_old_and_old_ones_stay(theirs):
    tokenizer = AutoTokenizer.from_pretrained(theirs)
    adapt_tokenizer(tokenizer, "hfllm")
    model = AutoModelForCausalLM.from_pretrained(theirs)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    ids = new_ids(tokenizer, AutoTokenizer.from_pretrained(theirs))
    resize_embeddings(model, ids)
    for name, weight in model.state_dict().items():
        old = before[name]
        assert torch.equal(weight[: len(old)], old)
        if len(weight) > len(old):
            torch.testing.assert_close(weight[ids], old.mean(0).expand(len(ids), -1))
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert tied == model.config.tie_word_embeddings
    with pytest.raises(ValueError, match="another model's tokenizer"):
        resize_embeddings(AutoModelForCausalLM.from_pretrained(theirs), [len(old) + 9])


@pytest.mark.parametrize("peft", [None, {"r": 4, "target_modules": "all-linear"}])
@pytest.mark.parametrize("template", ["keep", "hfllm", "own.jinja"])
def test_sft_of_their_model(theirs, tmp_path, monkeypatch, capsys, template, peft):
    space = Workspace(tmp_path).fill()
    monkeypatch.chdir(tmp_path)
    own = CHATML.replace("m.role + '\n'", "m.role + ': '").replace("assistant\n", "assistant: ")
    (tmp_path / "own.jinja").write_text(own)
    value = json.dumps(peft) if peft else "null"
    sft = space.run(
        "sft", f"sft.init={theirs}", f"sft.chat_template={template}", f"sft.peft={value}"
    )
    tokenizer, start = (
        AutoTokenizer.from_pretrained(sft.model),
        AutoTokenizer.from_pretrained(theirs),
    )
    model = AutoModelForCausalLM.from_pretrained(sft.model)
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer) > len(start)
    assert tokenizer.pad_token == "<|pad|>" and model.config.pad_token_id == tokenizer.pad_token_id
    ends = {"keep": "<|im_end|>", "hfllm": "<|end|>", "own.jinja": "<|im_end|>"}
    stops = model.generation_config.eos_token_id
    assert tokenizer.convert_tokens_to_ids(ends[template]) in (
        stops if isinstance(stops, list) else [stops]
    )
    notes = Manifest.read(sft.manifest).notes
    assert any(note.startswith("pad token <|pad|> (added)") for note in notes)
    assert any(note.startswith(f"chat template: {template}") for note in notes) == (
        template != "keep"
    )
    assert "sft: pad token <|pad|> (added)" in capsys.readouterr().out
    text = tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False)
    assert (
        text
        == {
            "keep": "<|im_start|>user\na<|im_end|>\n",
            "hfllm": "<|bos|><|user|>a<|end|>",
            "own.jinja": "<|im_start|>user: a<|im_end|>\n",
        }[template]
    )
    trained = new_ids(tokenizer, start)
    rows = model.get_input_embeddings().weight[trained]
    if template == "hfllm":  # what is written is learned, with an adapter too
        assert (rows - rows.mean(0)).abs().max() > 1e-5


def as_vocab_and_merges(folder, words, sizes=300):
    """Another byte-level BPE as vocab.json and merges.txt, without tokenizer.json."""
    folder.mkdir()
    made = train_tokenizer([words] * 40, TokenizerConfig(vocab_size=sizes))
    made.backend_tokenizer.model.save(str(folder))
    extra = [t for t in made.all_special_tokens if t not in ("<|bos|>", "<|eos|>", "<|pad|>")]
    config = {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|bos|>", "eos_token": "<|eos|>"}
    config |= {"pad_token": "<|pad|>", "unk_token": "<|pad|>", "extra_special_tokens": extra}
    config |= {"chat_template": made.chat_template}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


OTHER = "completely different words: zebra, quartz, violin, mountain, 1 2 3. Xylophones! "


def test_another_tokenizer_under_a_trained_model_is_refused_whatever_its_files(trained, tmp_path):
    """A step and a folder as `init`; vocab.json + merges.txt has no digest to compare."""
    other = as_vocab_and_merges(tmp_path / "other", OTHER)
    model = shutil.copytree(trained.step("sft").model, tmp_path / "model")
    words = f"sft.tokenizer: {other} is not the tokenizer .* it lacks [0-9]+ of 300 tokens"
    for init in ("pretrain", model):
        with pytest.raises(ValueError, match=words):
            trained.run("sft", f"sft.tokenizer={other}", f"sft.init={init}")
    shutil.copytree(other, tmp_path / "wrong")
    for name in ("config.json", "model.safetensors"):
        shutil.copy(model / name, tmp_path / "wrong" / name)
    with pytest.raises(ValueError, match="is not the tokenizer that the model of `init`"):
        trained.run("sft", f"sft.init={tmp_path / 'wrong'}", f"sft.tokenizer={model}")


def test_the_same_tokenizer_in_other_files_is_accepted(trained, tmp_path):
    model, same = trained.step("sft").model, tmp_path / "same"
    AutoTokenizer.from_pretrained(model).save_pretrained(same)
    parts = json.loads((same / "tokenizer.json").read_text())
    (same / "tokenizer.json").write_text(json.dumps(parts))  # without indentation: other bytes
    ours, theirs = (AutoTokenizer.from_pretrained(folder) for folder in (same, model))
    assert difference(ours, theirs) is None
    ours.add_tokens(["<|new|>"])
    assert difference(ours, theirs) is None and new_ids(ours, theirs) == [300]
    assert "it lacks 1 of 301 tokens, '<|new|>'" in difference(theirs, ours)


def test_no_row_is_written_that_the_models_own_tokenizer_uses():
    ours = train_tokenizer([document(i) for i in range(40)], TokenizerConfig(vocab_size=300))
    other = train_tokenizer([OTHER] * 40, TokenizerConfig(vocab_size=300))
    with pytest.raises(ValueError, match="another model's tokenizer: id 2[0-9]* is '.*' in it"):
        new_ids(other, ours)


def test_ppo_asks_for_a_step_that_adds_the_tokens(theirs, tmp_path, monkeypatch):
    space = Workspace(tmp_path).fill()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"ppo.init: .* needs tokens added .*an sft step first"):
        space.run("ppo", f"ppo.init={theirs}", f"ppo.reward={theirs}")
