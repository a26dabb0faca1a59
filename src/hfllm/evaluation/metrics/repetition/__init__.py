"""The `evaluate` module `repetition`."""
