"""Every legal change of a job: each function makes the next version from the last. Pure; illegal moves raise
`IllegalTransitionError`."""
