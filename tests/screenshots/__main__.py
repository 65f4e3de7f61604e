"""`python -m tests.screenshots` draws the pictures anew; with `--check`, only says which of them are not current."""

from __future__ import annotations

import argparse
import sys

from tests.screenshots import draw_all, outdated_names, store_pictures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 with the names that differ")
    arguments = parser.parse_args()
    drawn = draw_all()
    different = outdated_names(drawn)
    if arguments.check:
        for name in different:
            print(f"screenshots/{name} is not what is drawn now; python -m tests.screenshots renews it", file=sys.stderr)
        return 1 if different else 0
    store_pictures(drawn)
    print(f"{len(drawn)} screenshots, {len(different)} changed{': ' if different else ''}{', '.join(different)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
