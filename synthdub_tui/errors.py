"""The base classes of all exceptions of this program."""

from __future__ import annotations

from synthdub_tui.problems import Problem, explain


class SynthdubError(Exception):
    """The base of every exception class of this program."""


class ProblemError(SynthdubError):
    """An error with a code of `KNOWN`. Code that raises it keeps secrets out of `detail`."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return self.problem.one_line()

    @property
    def problem(self) -> Problem:
        return explain(self.code, self.detail)
