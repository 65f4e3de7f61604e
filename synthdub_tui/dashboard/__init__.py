"""The Textual app that shows and steers a batch, as a client of the runner. `run.run_dashboard` opens it."""
