"""Use a trained model: batched generation, log-likelihoods, reward scores, chat."""
