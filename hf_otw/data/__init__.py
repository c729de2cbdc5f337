"""Data sets: reading files and labels, row numbers, the meta set, overlap between sets."""
