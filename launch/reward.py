"""Train a reward model on preference pairs.

accelerate launch launch/reward.py configs/demo.yaml reward.trainer.max_steps=50
"""

from hfllm.launch import main

if __name__ == "__main__":
    main("reward")
