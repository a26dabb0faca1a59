"""Documents stand between the same tokens in training and in scoring, never between role tokens."""

import json

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hfllm.data.packing.dataset import PackedDataset
from hfllm.inference.loglik import document_nats
from hfllm.inference.prompts import first_ids
from hfllm.runs.manifest import Manifest
from hfllm.tokenization.config import TokenizerConfig
from hfllm.tokenization.encode import encode_text
from hfllm.tokenization.separators import said, separators
from hfllm.tokenization.train import train_tokenizer
from hfllm.training.load import end_ids
from tiny import document

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m.role + m.content + '<|im_end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant' }}{% endif %}"
)
# special tokens in the vocabulary, bos, eos, template -> before, after
END, EOT, STOP = "<|im_end|>", "<|endoftext|>", "<|end_of_text|>"
OF_LLAMA2 = LLAMA3.replace(END, "</s>")
KINDS = {
    "bos and eos": (["<s>", "</s>"], "<s>", "</s>", None, "<s>", "</s>"),
    "one token for both": ([EOT], EOT, EOT, None, EOT, EOT),
    "Qwen": ([EOT], None, EOT, None, EOT, EOT),
    "Qwen-Instruct": ([EOT], None, END, CHATML, EOT, EOT),
    "SmolLM2": ([EOT], "<|im_start|>", END, CHATML, EOT, EOT),
    "ChatML alone": ([], "<|im_start|>", END, CHATML, END, END),
    "ChatML on Mistral": (["<s>", "</s>"], "<s>", END, CHATML, "<s>", "</s>"),
    "Llama-Instruct": (["<s>", STOP], "<s>", END, LLAMA3, "<s>", STOP),
    "eos ends turns": (["<s>", "</s>"], "<s>", "</s>", OF_LLAMA2, "<s>", "</s>"),
}  # fmt: skip


def made(special, bos=None, eos=None, template=None, vocabulary=300):
    """A byte-level BPE that writes no bos of its own, as most of the hub's do."""
    ours = train_tokenizer([document(i) for i in range(40)], TokenizerConfig(vocab_size=vocabulary))
    parts = json.loads(ours.backend_tokenizer.to_str()) | {"post_processor": None}
    backend = Tokenizer.from_str(json.dumps(parts).replace("<|eos|>", "<|unused|>"))
    backend.add_special_tokens(["<|im_start|>", "<|im_end|>", *special])
    named = {f"{k}_token": v for k, v in (("bos", bos), ("eos", eos)) if v}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<|pad|>", chat_template=template, **named
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_around_a_document(kind):
    *how, before, after = KINDS[kind]
    tokenizer = made(*how)
    found = separators(tokenizer)
    names = [tokenizer.convert_ids_to_tokens(list(ids)) for ids in (found.before, found.after)]
    assert names == [[before], [after]]
    assert first_ids(tokenizer) == list(found.before)
    usual = (before, after) == (tokenizer.bos_token, tokenizer.eos_token)
    assert (said(tokenizer) == "") == usual


def test_what_stops_generation_ends_a_turn_or_a_document():
    """A chat model's pad token may be what ends documents: it stops no answer."""
    tokenizer = made(*KINDS["SmolLM2"][:4])
    end, text = tokenizer.convert_tokens_to_ids([END, EOT])
    assert end_ids(tokenizer, chat=True) == [end]
    assert end_ids(tokenizer, chat=False) == [text, end]


def test_our_own_tokenizer_frames_as_ever(bpe):
    found = separators(bpe)
    assert (found.before, found.after) == ((bpe.bos_token_id,), (bpe.eos_token_id,))
    assert not said(bpe)


@pytest.mark.parametrize("kind", ["bos and eos", "Qwen", "SmolLM2"])
def test_a_document_is_scored_behind_the_tokens_it_is_trained_behind(
    workspace, monkeypatch, capsys, kind
):
    """Pretrain from scratch on another's tokenizer; what is scored is the row without its end."""
    tokenizer = made(*KINDS[kind][:4])
    tokenizer.save_pretrained("theirs")
    step = workspace.run("pretrain", "pretrain.tokenizer=theirs")
    assert ("documents stand between" in capsys.readouterr().out) == (kind != "bos and eos")
    assert Manifest.read(step.manifest).metrics["eval_bpb"] > 0
    row = PackedDataset(step.data / "train" / "documents")[0]
    first = int((row["position_ids"] == 0).nonzero()[0][1]) if row["position_ids"][1:].any() else 64
    ids = [int(i) for i in row["input_ids"][:first]]
    found = separators(AutoTokenizer.from_pretrained(step.model))
    text = tokenizer.decode(ids[1:-1])
    assert ids == [*found.before, *encode_text(tokenizer, text), *found.after]
    asked = []
    monkeypatch.setattr(
        "hfllm.inference.loglik.token_logprobs",
        lambda _, rows, __: asked.extend(rows) or [_Zero() for _ in rows],
    )
    document_nats(_Positions(), tokenizer, [text])
    assert [r.ids for r in asked] == [ids[:-1]] and asked[0].start == 1


class _Positions:
    config = type("Config", (), {"max_position_embeddings": 64})()


class _Zero:
    def double(self):
        return self

    def sum(self):
        return 0.0
