"""llama.cpp reads an exported file as the model: the same tokens, prompts and greedy answers.

Needs the PyPI package xllamacpp, which carries llama.cpp; it is none of hfllm's dependencies.
"""

import pytest
import torch
from export_models import make, save
from llama_cpp_server import served
from test_gguf_export import MODELS

from hfllm.export.gguf_tokenizer import probes
from hfllm.inference.prompts import encode_prompt
from hfllm.tokenization.config import TokenizerConfig
from hfllm.tokenization.encode import encode_text
from hfllm.tokenization.train import train_tokenizer
from tiny import documents

pytest.importorskip("xllamacpp", reason="needs llama.cpp: pip install xllamacpp")
CHATS = [
    [{"role": "user", "content": text}]
    for text in ("Who is person 7?", "7 + 8 = ?", "  spaces ", "naïve café", "A\n\nB", "é🙂 漢字")
] + [
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    [
        {"role": "user", "content": "A baker?"},
        {"role": "assistant", "content": "No."},
        {"role": "user", "content": "Who then?"},
    ],
    [{"role": "user", "content": "one " * 6}],
    [{"role": "user", "content": "x"}],
]


@pytest.mark.parametrize("kind", MODELS)
def test_log_probabilities_are_those_of_transformers(tmp_path, tokenizer, export, kind):
    model = make(tokenizer, **MODELS[kind])
    folder = save(tmp_path / "model", model, tokenizer)
    export(folder, "gguf", tmp_path / "a.gguf", "--dtype", "f32")
    some, compared = torch.Generator().manual_seed(3), 0
    with served(tmp_path / "a.gguf", context=96) as llama_cpp:
        for length in range(5, 65, 6):  # ten prompts
            ids = torch.randint(7, 320, (length,), generator=some).tolist()
            theirs = llama_cpp.log_probabilities(ids, model.config.vocab_size)
            if theirs is None:  # the next token ends the answer
                continue
            with torch.no_grad():
                ours = model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            torch.testing.assert_close(torch.tensor(theirs), ours, atol=0.05, rtol=0)
            compared += 1
    assert compared >= 6


@pytest.mark.parametrize("digits", [1, 3])
def test_tokens_and_prompts_are_ours(tmp_path, export, digits):
    config = TokenizerConfig(vocab_size=320, digits=digits)
    tokenizer = train_tokenizer((row["text"] for row in documents()), config)
    export(save(tmp_path / "model", make(tokenizer), tokenizer), "gguf", tmp_path / "a.gguf")
    with served(tmp_path / "a.gguf", context=96) as llama_cpp:
        for text in [*probes(300, seed=5), "<|end|> is text"]:
            assert llama_cpp.tokens(text) == encode_text(tokenizer, text), text
        for chat in CHATS:
            assert llama_cpp.prompt(chat) == encode_prompt(tokenizer, chat), chat
