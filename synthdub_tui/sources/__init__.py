"""From a path that a user named to a source: which files are videos, which are one and the same, and what they hold."""
