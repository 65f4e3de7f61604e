"""The domain: jobs, dubs and decisions about them (changes, retries, selection, estimates, output paths); no network, screen
or state files."""
