"""Rows that join and leave a running batch get the tokens of whole rows run alone."""

import pytest
import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as TYPES

from hfllm.inference.continuous import RunningRows, joined, rows_can_join
from tiny_types import NOT_CAUSAL, NOT_SMALL, VOCABULARY, tiny_causal

JOIN = ("llama", "gpt2", "gemma3_text", "mistral", "gpt_oss", "bloom", "opt")  # windows of 8 too
APART = ("mamba", "lfm2", "qwen3_next", "recurrent_gemma", "rwkv", "roberta", "xlstm")
OTHERS = sorted(set(TYPES) - {*JOIN, *APART, *NOT_SMALL, *NOT_CAUSAL})
MOST = 7
LENGTHS = (3, 14, 9, 1, 11)  # each joins a step after the one before; longer and shorter ones


def prompts():
    random = torch.Generator().manual_seed(1)
    return [torch.randint(4, VOCABULARY, (n,), generator=random).tolist() for n in LENGTHS]


def length_of(row):
    return min(MOST, 2 + row) if row % 2 == 0 else MOST


def alone(model, prompt, count):
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(count):
            logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
            ids.append(int(logits[:VOCABULARY].argmax()))
    return ids[len(prompt) :]


def check(model):
    said = [[] for _ in LENGTHS]

    def next_token(_, logits):
        return logits[:, :VOCABULARY].argmax(-1)

    def is_done(rows, *_):
        return torch.tensor([len(said[row]) >= length_of(row) for row in rows.tolist()])

    with torch.inference_mode():
        for row, token in joined(model, prompts(), MOST, next_token, is_done):
            said[row].append(token)
    assert said == [alone(model, p, length_of(i)) for i, p in enumerate(prompts())]


@pytest.mark.parametrize("model_type", JOIN)
def test_rows_of_these_models_join_and_leave(model_type):
    model = tiny_causal(model_type)
    assert rows_can_join(model)
    check(model)


@pytest.mark.parametrize("model_type", APART)
def test_the_caches_of_these_models_cannot_be_joined_and_the_trial_says_so(model_type):
    assert not rows_can_join(tiny_causal(model_type))


@pytest.mark.slow
@pytest.mark.parametrize("model_type", OTHERS)
def test_every_model_type_that_passes_the_trial_is_right(model_type):
    model = tiny_causal(model_type)
    if rows_can_join(model):
        check(model)


@pytest.mark.parametrize("model_type", ["llama", "mistral"])
def test_what_pads_every_row_is_cut_off(model_type):
    running = RunningRows(tiny_causal(model_type))
    _, long, _, short, _ = prompts()
    running.join([short, long])
    assert running.mask.shape == (2, 14)
    running.keep(torch.tensor([0]))
    assert running.mask.shape == (1, 1)
    assert running.forward.cache.get_seq_length() == 1
    running.keep(torch.tensor([], dtype=torch.long))
    assert len(running) == 0 and running.forward.cache.get_seq_length() == 0
