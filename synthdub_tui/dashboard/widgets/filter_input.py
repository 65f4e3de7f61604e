"""The line in which a filter is typed, with completion. `MainScreen` applies it, or shows the error, while the user types."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.suggester import Suggester

from synthdub_tui.dashboard.grid_model import GridModel
from synthdub_tui.dashboard.widgets.ordered_input import OrderedInput
from synthdub_tui.jobs.filters import complete_filter
from synthdub_tui.jobs.model import DubState


class _FilterSuggester(Suggester):
    """Shows the first completion faintly behind the cursor."""

    def __init__(self, completions: Callable[[str], list[str]]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._completions = completions

    async def get_suggestion(self, value: str) -> str | None:
        return next((whole for whole in self._completions(value) if whole.startswith(value)), None)


class FilterInput(OrderedInput):
    """One input line. Its cursor does not blink, because that would send bytes for ever."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "accept", "Complete", show=False)]

    def __init__(self, batch: GridModel) -> None:
        super().__init__(
            placeholder="state:failed lang:fr name:intro reason:processing",
            id="filter",
            compact=True,
            select_on_focus=False,
            suggester=_FilterSuggester(self.completions),
        )
        self.cursor_blink = False
        self._batch = batch

    def completions(self, text: str) -> list[str]:
        """Completions of the last word, from the filter language and the batch."""
        reasons: set[str] = set()
        if "reason:" in text:
            for job in self._batch.jobs():
                reasons.update(dub.failure.code for dub in job.dubs.values() if dub.state is DubState.FAILED and dub.failure)
        return complete_filter(text, self._batch.languages, sorted(reasons))

    def action_accept(self) -> None:
        """Accept the first completion."""
        found = self.completions(self.value)
        if found:
            self.value = found[0]
            self.cursor_position = len(self.value)
