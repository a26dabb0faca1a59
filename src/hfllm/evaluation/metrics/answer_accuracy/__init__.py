"""The `evaluate` module `answer_accuracy`."""
