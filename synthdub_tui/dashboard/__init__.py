"""The Textual app that shows and steers a runner."""
