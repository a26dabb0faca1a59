"""Evaluation of model folders on held-out tests: tasks, metrics, 95% intervals, tables."""
