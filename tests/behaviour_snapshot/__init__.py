"""Records what users and other programs can observe of synthdub, to show that a change of the code changed nothing.

`python -m tests.behaviour_snapshot FOLDER` writes into FOLDER what the commands print, their exit codes, the files that they
leave, the requests that they send, the messages of the runner's socket and the pictures of the dashboard.
`diff -r BEFORE AFTER` of two such folders is empty when the behaviour is the same.

`python -m tests.behaviour_snapshot --against main` records the tree at a git reference and this one, prints the difference, and
exits with 1 if there is one. Changes that are not committed count as part of this tree.

The product is driven from outside only: processes, sockets, files. What differs between any two runs (times, random ids, ports)
is replaced by placeholders. Log lines are recorded without their field `from`, which names the module.
"""
