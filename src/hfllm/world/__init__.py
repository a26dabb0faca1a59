"""The small world: a closed world, generated from a seed, whose every fact is known."""
