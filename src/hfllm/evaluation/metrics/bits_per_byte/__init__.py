"""The `evaluate` module `bits_per_byte`."""
