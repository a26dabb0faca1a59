"""Trainers of preferences on a tiny model and ready rows, without a recipe."""

import pytest
from datasets import Dataset

from tiny import pair
from tiny_model import tiny_model, tiny_tokenizer

TRAINER = {
    "use_cpu": True, "bf16": False, "report_to": "none", "gradient_checkpointing": False,
    "max_length": None, "disable_tqdm": True, "remove_unused_columns": False,
    "train_sampling_strategy": "sequential", "precompute_ref_log_probs": True, "beta": 0.3,
    "logging_steps": 1, "learning_rate": 1e-3, "save_strategy": "no",
}  # fmt: skip


@pytest.fixture(scope="session")
def pair_tokenizer():
    return tiny_tokenizer([f"{pair(i)}" for i in range(30)])


@pytest.fixture(scope="session")
def pair_rows(pair_tokenizer):
    """Seven pairs of several lengths; the second has two turns before the answer."""
    from hfllm.training.answer_rows import pair_of_answers

    pairs = [pair(i) for i in range(7)]
    for i in (2, 5):
        pairs[i]["rejected"][0]["content"] += " It is a town, I think."
    pairs[1]["prompt"] = [*pairs[0]["prompt"], *pairs[0]["chosen"], *pairs[1]["prompt"]]
    return [pair_of_answers(pair_tokenizer, one) for one in pairs]


@pytest.fixture()
def build_dpo(tmp_path, pair_tokenizer, pair_rows):
    from hfllm.training.dpo_config import CheckedDPOConfig
    from hfllm.training.dpo_trainer import ReadyDPOTrainer

    def make(peft=None, model=None, order=None, ref_model=None, **changes):
        settings = {"per_device_train_batch_size": len(pair_rows), **TRAINER, **changes}
        return ReadyDPOTrainer(
            order=order or range(len(pair_rows)),
            folder=tmp_path / "reference",
            model=model or tiny_model(pair_tokenizer),
            ref_model=ref_model,
            args=CheckedDPOConfig(str(tmp_path), **settings),
            train_dataset=Dataset.from_list(pair_rows),
            processing_class=pair_tokenizer,
            peft_config=peft,
        )

    return make
