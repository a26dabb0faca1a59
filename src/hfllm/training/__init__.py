"""Fitting a trainer: optimizers, callbacks, checkpoints that survive a kill."""
