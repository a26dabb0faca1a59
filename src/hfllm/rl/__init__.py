"""PPO on TRL's GRPOTrainer: critic, advantages, rewards."""
