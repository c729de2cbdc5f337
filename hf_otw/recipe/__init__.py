"""Recipes: a training run as a YAML file, and the runner that `hf-otw train` and `python -m recipes.run` share.

`schema` says what a recipe holds, `reading` reads one strictly, `catalogue` names the data, models and pipelines that
it may ask for, `run` trains it, `hub` publishes it and brings it back.
"""
