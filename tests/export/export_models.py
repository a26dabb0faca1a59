"""Small models of each architecture, with large weights so that a wrong order of rows shows."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM

SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 96, "initializer_range": 0.2,
}  # fmt: skip


def make(tokenizer, model_type="llama", rows=None, **changes):
    """A model of a type; `rows` of its embedding, by default one a token."""
    torch.manual_seed(0)
    settings = SIZES | {"vocab_size": rows or len(tokenizer), "bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(model_type, **settings | {"pad_token_id": 0} | changes)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for name, weight in model.named_parameters():  # norms of 1 and biases of 0 would hide mistakes
        if weight.dim() == 1:
            torch.nn.init.normal_(weight, 1.0 if "norm" in name else 0.0, 0.3)
    model.generation_config.eos_token_id = [2, tokenizer.convert_tokens_to_ids("<|end|>")]
    return model


def save(folder, model, tokenizer):
    """A model folder."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
