"""Parts of screens, each drawn from data that it is given. They send no requests and change no data."""
