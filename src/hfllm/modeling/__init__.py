"""Models from a configuration, and the arithmetic of their size and FLOPs."""
