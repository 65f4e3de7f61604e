"""Gives a file one path, however it is named: with `..` or doubled slashes, with accents composed in another way, or in another
case on file systems that ignore it (macOS, FAT, Windows shares).

Inodes decide nothing here: file systems in user space may give one file a different one for each spelling.
"""

from __future__ import annotations
