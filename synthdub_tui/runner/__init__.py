"""The process that does the work: workers, poller, users' requests; decisions without I/O belong in `jobs`, the socket in
`ipc`."""
