"""`python -m synthdub_tui` is `synthdub`."""

import sys

from synthdub_tui.cli import main

if __name__ == "__main__":
    sys.exit(main())
