"""Measurements: each module is one command that writes JSON under benchmarks/results/."""
