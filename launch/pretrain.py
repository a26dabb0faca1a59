"""Pretrain a causal LM from scratch, or continue from a model (midtraining).

accelerate launch launch/pretrain.py configs/demo.yaml pretrain.trainer.max_steps=50
"""

from hfllm.launch import main

if __name__ == "__main__":
    main("pretrain")
