"""A reward model's score does not depend on the rows beside it; every model type is tried."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as LANGUAGE_MODELS,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as TYPES,
)

from hfllm.inference.reward_model import RewardModel
from tiny_types import NOT_CAUSAL, NOT_SMALL, VOCABULARY, tiny_config, with_visible_weights

FEW = ("llama", "gpt2", "mistral", "gpt_oss", "jamba", "qwen3_next", "opt", "bloom")
NEEDS_EOS = ("bart", "bigbird_pegasus", "mbart", "mvp", "plbart")  # they score the last eos
OTHERS = (set(TYPES) & set(LANGUAGE_MODELS)) - {*FEW, *NOT_SMALL, *NOT_CAUSAL, *NEEDS_EOS}


class PadZero:
    pad_token_id = 0


def check(model_type):
    config = tiny_config(model_type)
    config.num_labels = config.get_text_config().num_labels = 1
    made = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    model = with_visible_weights(made)
    random = torch.Generator().manual_seed(1)
    rows = [torch.randint(4, VOCABULARY, (n,), generator=random).tolist() for n in (5, 12, 9)]
    with torch.no_grad():
        found = RewardModel(model, PadZero())._forward(rows)
        alone = [float(model(input_ids=torch.tensor([row])).logits[0, 0]) for row in rows]
    assert found == pytest.approx(alone, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("model_type", FEW)
def test_padding_changes_no_score(model_type):
    check(model_type)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", sorted(OTHERS))
def test_padding_changes_no_score_of_any_model_type(model_type):
    check(model_type)
