"""Answers and likelihoods are those of whole rows run alone; every model type is tried."""

import pytest
import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as TYPES

from hfllm.inference.decoders import (
    by_generate,
    by_whole_rows,
    is_right,
    one_by_one,
    padded,
    way_of,
)
from hfllm.inference.loglik import token_logprobs
from hfllm.modeling.batching import ScoringRequest
from tiny_types import NOT_CAUSAL, NOT_SMALL, VOCABULARY, tiny_causal

WAYS = {
    padded: (
        "llama", "gpt2", "gemma3_text", "mistral", "gpt_oss", "bloom", "opt", "lfm2", "jamba",
        "qwen3_next",
    ),
    by_generate: ("mamba", "falcon_mamba", "recurrent_gemma", "minimax"),
    one_by_one: ("rwkv",),
    by_whole_rows: ("xlstm", "roberta"),
}  # fmt: skip
EXPECTED = {name: way for way, names in WAYS.items() for name in names}
OTHERS = sorted(set(TYPES) - {*EXPECTED, "mamba2", *NOT_SMALL, *NOT_CAUSAL})
MOST = 5


def tokens(*lengths):
    random = torch.Generator().manual_seed(1)
    return [torch.randint(4, VOCABULARY, (n,), generator=random).tolist() for n in lengths]


def logits_alone(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()


def ends(row, token):
    """Rows 0 and 2 stop early."""
    return row in (0, 2) and token % 2 == 0


def alone(model, prompts):
    """Greedy tokens of each prompt, each from a forward pass over its whole row."""
    out = []
    for row, prompt in enumerate(prompts):
        ids = list(prompt)
        while len(ids) < len(prompt) + MOST:
            ids.append(int(logits_alone(model, ids)[-1, :VOCABULARY].argmax()))
            if ends(row, ids[-1]):
                break
        out.append(ids[len(prompt) :])
    return out


def answers(model, prompts):
    def next_token(rows, logits):
        return logits[:, :VOCABULARY].argmax(-1)

    def is_done(rows, token, _):
        pairs = zip(rows.tolist(), token.tolist(), strict=True)
        return torch.tensor([ends(*pair) for pair in pairs])

    out = [[] for _ in prompts]
    with torch.inference_mode():
        for row, token in way_of(model)(model, prompts, MOST, next_token, is_done):
            out[row].append(token)
    return out


def check(model_type):
    model = tiny_causal(model_type)
    prompts = tokens(3, 9, 12, 9)
    assert answers(model, prompts) == alone(model, prompts)
    check_likelihoods(model)


def check_likelihoods(model):
    """Rows with a long common prefix, a question's choices, and rows without any."""
    begin, question, *rest = tokens(20, 9, *range(2, 9), 2, 3, 4, 12, 7)
    rows = [ScoringRequest(begin + ids, 20) for ids in rest[:7]]
    rows += [ScoringRequest(question + ids, 9) for ids in rest[7:10]]
    rows += [ScoringRequest(ids, 1) for ids in rest[10:]]
    for row, found in zip(rows, token_logprobs(model, rows), strict=True):
        table = logits_alone(model, row.ids).log_softmax(-1)
        expected = table[range(row.start - 1, len(row.ids) - 1), row.ids[row.start :]]
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("model_type", list(EXPECTED))
def test_these_models_are_decoded_as_their_caches_allow(model_type, capsys):
    check(model_type)
    model = tiny_causal(model_type)
    assert way_of(model) is EXPECTED[model_type]
    said = capsys.readouterr().err
    assert said.count("padded batches give other tokens") == (way_of(model) is not padded) * 2


def test_mamba2_gives_its_own_tokens():
    """In which way depends on transformers: 5.17 hands its cache over by another name than 5.24."""
    check("mamba2")


@pytest.mark.slow
@pytest.mark.parametrize("model_type", OTHERS)
def test_every_model_type_gives_its_own_tokens_and_likelihoods(model_type):
    check(model_type)


@pytest.mark.parametrize("way", [padded, by_generate, one_by_one, by_whole_rows])
def test_each_way_is_right_for_a_llama(way):
    assert is_right(tiny_causal("llama"), way)


def test_settings_of_the_models_folder_change_no_answer():
    """`generate` would apply them: a penalty, a shortest length, ends of its own."""
    model, prompts = tiny_causal("rwkv"), tokens(3, 9, 12, 9)
    before = model.generation_config
    before.update(repetition_penalty=1.7, min_new_tokens=4, eos_token_id=list(range(4, 20)))
    assert answers(model, prompts) == alone(model, prompts)
    assert model.generation_config is before
