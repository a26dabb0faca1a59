"""PPO on TRL's GRPOTrainer, and what any trainer on GRPOTrainer can use: rewards and prompts."""
