"""Durable files: the state directory, receipts, claims and the lock; no network, and no decisions about jobs."""
