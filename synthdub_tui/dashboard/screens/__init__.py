"""The pages and dialogs above the main screen, one per file, and their parts; no requests to the runner."""
