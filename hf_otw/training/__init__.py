"""The training step, and the state of one training run."""
