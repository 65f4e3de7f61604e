"""Dub a library of videos into many languages through the Synthesia API, from a terminal."""

__version__ = "0.1.0"
