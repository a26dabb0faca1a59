"""The decoding loop inside transformers' generate: its words, its settings, fewer rows."""

import pytest
import torch

from hfllm.fast_cpu.decoding import without_ended_rows


@pytest.fixture
def rows_run(llama):
    """How many rows the first layer was given, step by step."""
    seen = []
    llama.model.layers[0].register_forward_hook(lambda _, args, __: seen.append(len(args[0])))
    return seen


def prompts(padded=True):
    """Six prompts, padded on the left, and their mask."""
    ids = torch.randint(100, 300, (6, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    for row in range(6 if padded else 0):
        mask[row, :row] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize(
    "settings",
    [{}, {"repetition_penalty": 1.5}, {"min_new_tokens": 4}, {"do_sample": True, "top_k": 1}],
)
def test_generate_says_the_same_with_fewer_rows(llama, rows_run, settings, padded):
    torch.manual_seed(0)
    for parameter in llama.parameters():  # answers that differ, and more than one word said again
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    common = {"max_new_tokens": 12, "pad_token_id": 0, "do_sample": False}
    inputs = {**prompts(padded), **common, **settings}
    free = llama.generate(**inputs)[:, 9:]
    said = [(free[:, 4:10] == token).any(dim=1).sum() for token in free.unique()]
    stops = [t for t, rows in zip(free.unique().tolist(), said, strict=True) if 0 < rows < 6][:1]
    inputs["eos_token_id"] = stops
    expected = llama.generate(**inputs)
    rows_run.clear()
    found = llama.generate(**inputs, custom_generate=without_ended_rows)
    assert found.tolist() == expected.tolist()
    answers = found[:, 9:]
    ended = torch.isin(answers, torch.tensor(stops)).int().cumsum(1) > 0
    running = [6] + [int((~ended[:, step]).sum()) for step in range(answers.size(1) - 1)]
    assert rows_run == running and 0 < running[-1] < 6


def test_sampling_draws_from_what_is_left_after_the_processors(llama):
    inputs = {**prompts(), "max_new_tokens": 1, "do_sample": True, "pad_token_id": 0}
    with torch.no_grad():
        best = llama(**prompts()).logits[:, -1].topk(3).indices
    drawn = [
        llama.generate(**inputs, top_k=3, custom_generate=without_ended_rows)[:, -1]
        for _ in range(40)
    ]
    for row in range(6):
        said = {int(tokens[row]) for tokens in drawn}
        assert said <= set(best[row].tolist()) and len(said) > 1
