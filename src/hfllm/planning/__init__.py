"""What a training step will cost, before it runs: tokens, FLOPs, memory, time, money."""
