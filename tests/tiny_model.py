"""A two-layer Llama and its 320-token BPE, made on the spot; no hub."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hfllm.tokenization.config import TokenizerConfig
from hfllm.tokenization.train import train_tokenizer

torch.set_num_threads(1)


def tiny_tokenizer(texts):
    return train_tokenizer(iter(texts), TokenizerConfig(vocab_size=320))


def tiny_config(tokenizer, **changes):
    settings = dict(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=96,
        initializer_range=0.2,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    return LlamaConfig(**{**settings, **changes})


def tiny_model(tokenizer, seed=0, **changes):
    torch.manual_seed(seed)
    model = LlamaForCausalLM(tiny_config(tokenizer, **changes)).eval()
    stops = tokenizer.convert_tokens_to_ids(["<|end|>", "<|eos|>"])
    model.generation_config.eos_token_id = stops
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def save(model, tokenizer, place):
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def moved(trainer):
    """Change what the trainer trains, as training would."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn_like(weight)
    return trainer
