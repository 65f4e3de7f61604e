"""The Textual app that shows and steers a batch, as a client of the runner; no API calls, no writing of the batch's state."""
