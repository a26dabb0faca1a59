"""Train with GRPO on reward functions and/or a reward model.

accelerate launch launch/grpo.py my.yaml grpo.trainer.max_steps=50
"""

from hfllm.launch import main

if __name__ == "__main__":
    main("grpo")
