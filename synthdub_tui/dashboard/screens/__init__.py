"""The main screen, pages and dialogs, one per file beside its style sheet; what changes the batch belongs in `actions`."""
