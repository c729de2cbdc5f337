"""Recipes that mean harm, against a Hub on loopback with two tokens."""
