"""Train with PPO on a reward model and/or reward functions.

accelerate launch launch/ppo.py configs/demo.yaml ppo.trainer.max_steps=50
"""

from hfllm.launch import main

if __name__ == "__main__":
    main("ppo")
