"""Read files as people have them: their encoding, their delimiter, their numbers."""
