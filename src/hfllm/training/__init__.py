"""Shared by the training stages: loading, data sets, optimizers, callbacks, checkpoints, `fit`."""
