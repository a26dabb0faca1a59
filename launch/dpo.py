"""Train on preference pairs with DPO.

accelerate launch launch/dpo.py configs/smollm2-dpo.yaml dpo.trainer.max_steps=50
"""

from hfllm.launch import main

if __name__ == "__main__":
    main("dpo")
