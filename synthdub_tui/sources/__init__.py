"""Finds sources below named paths: which files are videos, which are the same, what they contain; no network or state files."""
