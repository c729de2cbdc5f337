"""What weighting adds to a training step."""
