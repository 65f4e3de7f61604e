"""The terminal itself: what is read from it and written to it. Nothing about dubs."""
