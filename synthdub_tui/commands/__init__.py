"""What each command does, imported only when called; parsing belongs in `cli`, decisions about dubs in `jobs` and `runner`."""
