"""Calls to the Synthesia API: client, schemas, errors and rate limits; the runner decides which calls to make or repeat."""
