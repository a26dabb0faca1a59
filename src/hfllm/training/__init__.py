"""What the training stages share: loading, data sets, optimizers, callbacks, checkpoints."""
