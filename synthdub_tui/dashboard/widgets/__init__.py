"""Parts of screens, each drawn from data that it is given. They ask nobody and change nothing."""
