"""Train with RLOO on reward functions and/or a reward model.

accelerate launch launch/rloo.py my.yaml rloo.trainer.max_steps=50
"""

from hfllm.launch import main

if __name__ == "__main__":
    main("rloo")
