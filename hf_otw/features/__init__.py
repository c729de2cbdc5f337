"""Features: taken from the model's head, pooled, kept, and divided among processes."""
