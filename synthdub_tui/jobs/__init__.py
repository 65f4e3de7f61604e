"""The domain: jobs, dubs, selection, discovery, estimates. Imports nothing of ours."""
