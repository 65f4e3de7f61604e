"""The process that does the work: workers, poller, control socket."""
