"""Run any step of a recipe, whichever stage it has.

accelerate launch launch/stage.py configs/demo.yaml --step sft sft.trainer.max_steps=50
"""

from hfllm.launch import main

if __name__ == "__main__":
    main()
