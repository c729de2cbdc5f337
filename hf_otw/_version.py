"""Version of the package; `setup.py` reads it without an import."""

__version__ = "0.2.0"
