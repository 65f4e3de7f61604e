"""What each command of the command line does, one module a command; nothing is imported before its command is called."""
