"""Held-out tests of model folders: tasks, metrics, intervals, tables."""
