"""The process that does the work: workers, poller, control socket; decisions without I/O belong in `jobs`, not here."""
