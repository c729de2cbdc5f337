"""Options of a run: their schema, presets, checks, and the objects that they name."""
