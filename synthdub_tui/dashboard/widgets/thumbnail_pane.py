"""The picture next to a list, for the row on which its cursor rests. Hidden if there is none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from textual.containers import Container
from textual.timer import Timer

from synthdub_tui.dashboard import images
from synthdub_tui.dashboard.thread_task import Errand

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels
    from textual_image.widget import HalfcellImage

Ask = Callable[[], Awaitable[str]]
"""Returns the path of a picture; empty if there is none."""

RESTS: Final = 0.25
"""Seconds that the cursor must rest before a picture is requested, since each costs a request to the runner."""

NARROWEST, LOWEST = 100, 18
"""Columns and lines of the screen below which the list needs all the room."""

LEAST, MOST = 36, 64
"""Least and most columns for a picture."""


class Thumbnail(Container):
    """Takes no room before the first picture. Keeps its room after that, so that the list does not jump."""

    DEFAULT_CSS = """
    Thumbnail { width: auto; height: 100%; padding-left: 2; display: none; }
    Thumbnail.-seen { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(id="thumbnail")
        self._ask: Ask | None = None
        self._timer: Timer | None = None
        self._picture: HalfcellImage | None = None

    def look(self, ask: Ask | None) -> None:
        """Show another picture after `RESTS` seconds, unless this is called again before."""
        self._ask = ask
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(RESTS, self._begin)

    def _begin(self) -> None:
        width, height = self.screen.size
        if self._ask is None or width < NARROWEST or height < LOWEST:
            self._put(None, keep=False)
            return
        self.run_worker(self._find(self._ask), group="thumbnail", exclusive=True, exit_on_error=False)

    async def _find(self, ask: Ask) -> None:
        path = await ask()
        if not path:
            self._found(ask, None)
            return
        columns, lines = self._room()
        Errand(self, lambda errand: errand.tell(self._found, ask, images.load(path, columns, lines)))

    def _found(self, ask: Ask, pixels: Pixels | None) -> None:
        if ask is self._ask:
            self._put(pixels, keep=True)

    def _put(self, pixels: Pixels | None, *, keep: bool) -> None:
        """Show a picture, or none. `keep`: without a picture, keep the room of the last one."""
        before = self.has_class("-seen")
        if pixels is not None:
            self._draw(pixels)
        if self._picture is not None:
            self._picture.display = pixels is not None
        self.set_class(pixels is not None or (keep and before), "-seen")

    def _draw(self, pixels: Pixels) -> None:
        if self._picture is None:
            self._picture = images.widget(pixels)
            self.mount(self._picture)
        else:
            self._picture.image = pixels
        room = self._room()
        self._picture.styles.width, self._picture.styles.height = images.cells(*pixels.size, *room)
        self.styles.width = room[0] + 2

    def _room(self) -> tuple[int, int]:
        """Columns and lines for a picture."""
        width, height = self.screen.size
        return max(LEAST, min(MOST, width // 3)), max(1, height - 6)
