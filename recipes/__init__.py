"""Recipes, their results, and what they may ask for (`recipes.catalogue`). Not part of the installed package."""
