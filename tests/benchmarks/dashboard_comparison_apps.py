"""What the dashboard is measured against: Textual's DataTable on the same data, and a Textual app that shows one word.

`python -m tests.benchmarks.dashboard_comparison_apps bare|table ROWS COLUMNS CHANGES`
"""

from __future__ import annotations

import sys

from textual import widgets  # each is imported where it is used first
from textual.app import App, ComposeResult
from textual.coordinate import Coordinate


class BareApp(App[None]):
    """The least that Textual can do."""

    def compose(self) -> ComposeResult:
        yield widgets.Static("ready-to-read")


class TableApp(App[None]):
    """The same rows and columns as a DataTable, with so many changes of visible cells a second."""

    CSS = "DataTable { height: 1fr; }"

    def __init__(self, rows: int, columns: int, changes: int) -> None:
        super().__init__()
        self.row_count, self.column_count, self.changes_per_second = rows, columns, changes
        self.step = 0
        self.tick = 0.0

    def compose(self) -> ComposeResult:
        yield widgets.Static("@start@", markup=False)
        yield widgets.DataTable(fixed_columns=1)

    def on_mount(self) -> None:
        table = self.query_one(widgets.DataTable)
        table.add_columns("file", *(f"l{n}" for n in range(self.column_count)))
        cells = ["~ 12m "] * self.column_count
        for number in range(self.row_count):
            table.add_row(f"lesson {number:04}.mp4", *cells)
        if self.changes_per_second:
            from synthdub_tui.ipc.server import CHANGES_INTERVAL_SECONDS  # not where the bare app is measured

            self.tick = CHANGES_INTERVAL_SECONDS
            self.set_interval(CHANGES_INTERVAL_SECONDS, self.change_cells)

    def change_cells(self) -> None:
        table = self.query_one(widgets.DataTable)
        for _ in range(round(self.changes_per_second * self.tick)):
            self.step += 1
            table.update_cell_at(Coordinate(12 + self.step % 20, 1 + self.step % 9), f"v {self.step % 100:3}%")

    def on_data_table_cell_highlighted(self, event: widgets.DataTable.CellHighlighted) -> None:
        self.query_one(widgets.Static).update(f"@{event.coordinate.row}@")


if __name__ == "__main__":
    kind, *numbers = sys.argv[1:]
    app = BareApp() if kind == "bare" else TableApp(*map(int, numbers))
    app.run()
