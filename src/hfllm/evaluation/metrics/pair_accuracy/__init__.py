"""The `evaluate` module `pair_accuracy`."""
