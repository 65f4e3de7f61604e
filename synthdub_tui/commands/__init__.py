"""One module for each command, with its arguments and its run; decisions about dubs belong in `jobs` and `runner`."""
