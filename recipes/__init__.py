"""Runnable experiments: data sources, recipes and the demo. Not part of the installed package."""
