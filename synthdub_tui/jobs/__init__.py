"""The domain: jobs, dubs, selection, names of outputs, estimates. Imports nothing of ours."""
