"""The `evaluate` module `ece`."""
