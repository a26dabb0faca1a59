"""Fine-tune on chats, loss on the assistant's tokens only.

accelerate launch launch/sft.py configs/demo.yaml sft.trainer.max_steps=50
"""

from hfllm.launch import main

if __name__ == "__main__":
    main("sft")
