"""Recipes: a training run as a YAML file, and what `hf-otw train` does with it.

`schema` says what a recipe holds, `reading` reads one strictly, `catalogue` names the data, models and pipelines that
it may ask for, `run` trains it, `hub` publishes it and brings it back.
"""
