"""Train on answers that are labelled good or bad with KTO.

accelerate launch launch/kto.py my.yaml kto.trainer.max_steps=50
"""

from hfllm.launch import main

if __name__ == "__main__":
    main("kto")
