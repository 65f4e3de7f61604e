"""The roots of the exceptions: all of this program, and those that a user is shown. With the exit codes of the process."""

from __future__ import annotations

from synthdub_tui.problems import Problem, explain

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_BUSY, EXIT_WAITING, EXIT_INTERRUPTED = 0, 1, 2, 3, 5, 130
"""Exit codes; `synthdub --help` and the README explain them to users."""


class SynthdubError(Exception):
    """The root of all exceptions that this program raises.

    All but `ProblemError` are caught before a user sees them.
    """


class ProblemError(SynthdubError):
    """An error with a code of `PROBLEMS`, which says what happened, why and what to do.

    Code that raises it keeps secrets out of `detail`.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return self.problem.one_line()

    @property
    def problem(self) -> Problem:
        return explain(self.code, self.detail)
