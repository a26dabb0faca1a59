"""Confidence is measured at the position of the answer where a choice is likeliest to begin."""

import pytest
import torch
from evaluation_rows import answer_row, said, total

from hfllm.evaluation.confidence import choice_confidence, encode_choices
from hfllm.fast_cpu import trained_head
from hfllm.tokenization.encode import encode_text


def test_confidence_is_measured_where_the_model_would_say_the_fact(tested, monkeypatch):
    """A model that says "He is" first and then a profession, each with a known likelihood."""
    texts = ["a baker", "a weaver", "a fisher"]
    row = answer_row(0, choices=texts)
    said(tested, ["He is a weaver."])
    answer = tested.generator.answer([row["prompt"]])[0]
    before = len(encode_text(tested.tokenizer, "He is"))
    inside = [ids for _, ids in encode_choices(tested, texts)]
    first = inside[0][0]
    assert all(ids[0] == first for ids in inside), "all begin with ' a'"

    class Knowing(torch.nn.Module):
        """Likely to say ' a' only after 'He is'; the rest as the tiny model has it."""

        def __init__(self, model):
            super().__init__()
            self.model, self.device = model, model.device
            self.get_output_embeddings = model.get_output_embeddings
            self.config = model.config

        def forward(self, input_ids, **_):
            out = self.model(input_ids)
            out.logits[:, len(answer.prompt_ids) + before - 1 :, first][:, :1] += 30
            return out

    tiny = tested.model
    tested.model = Knowing(tiny)
    monkeypatch.setattr(
        trained_head, "_has_plain_head", {tested.model: False}
    )  # its logits are its own
    confidence, right = choice_confidence(tested, [row], [answer])[0]
    context = answer.prompt_ids + answer.ids[:before]
    sums = torch.tensor([total(tiny, context + ids[:1], ids[1:]) for ids in inside])
    chances = sums.softmax(0)
    assert confidence == pytest.approx(float(chances.max()), rel=1e-4)
    assert right == (texts[int(chances.argmax())] == row["answer"])
