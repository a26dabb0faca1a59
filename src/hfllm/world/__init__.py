"""The small world: synthetic training data and tests, generated from a seed, all facts known."""
