"""Run any step of a recipe, of whatever stage.

accelerate launch launch/stage.py configs/demo.yaml --step sft sft.trainer.max_steps=50
"""

from hfllm.launch import main

if __name__ == "__main__":
    main()
