"""The picture next to a list, for the row on which its cursor rests. Hidden if there is none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from textual.containers import Container
from textual.timer import Timer

from synthdub_tui.dashboard import images
from synthdub_tui.dashboard.thread_task import ThreadTask

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels
    from textual_image.widget import HalfcellImage

FindImage = Callable[[], Awaitable[str]]
"""Returns the path of a picture; empty if there is none."""

SHOW_DELAY_SECONDS: Final = 0.25
"""Seconds that the cursor must rest before a picture is requested, since each costs a request to the runner."""

MIN_SCREEN_COLUMNS, MIN_SCREEN_LINES = 100, 18
"""Columns and lines of the screen below which the list needs all the room."""

MIN_IMAGE_COLUMNS, MAX_IMAGE_COLUMNS = 36, 64
"""Least and most columns for a picture."""


class ThumbnailPane(Container):
    """Takes no room before the first picture. Keeps its room after that, so that the list does not jump."""

    DEFAULT_CSS = """
    ThumbnailPane { width: auto; height: 100%; padding-left: 2; display: none; }
    ThumbnailPane.-seen { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(id="thumbnail")
        self._find_image: FindImage | None = None
        self._timer: Timer | None = None
        self._picture: HalfcellImage | None = None

    def look(self, ask: FindImage | None) -> None:
        """Show another picture after `SHOW_DELAY_SECONDS` seconds, unless this is called again before."""
        self._find_image = ask
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(SHOW_DELAY_SECONDS, self._start_search)

    def _start_search(self) -> None:
        width, height = self.screen.size
        if self._find_image is None or width < MIN_SCREEN_COLUMNS or height < MIN_SCREEN_LINES:
            self._set_image(None, keep=False)
            return
        self.run_worker(self._load_image(self._find_image), group="thumbnail", exclusive=True, exit_on_error=False)

    async def _load_image(self, ask: FindImage) -> None:
        path = await ask()
        if not path:
            self._handle_image(ask, None)
            return
        columns, lines = self._image_area()
        ThreadTask(self, lambda task: task.report(self._handle_image, ask, images.load(path, columns, lines)))

    def _handle_image(self, ask: FindImage, pixels: Pixels | None) -> None:
        if ask is self._find_image:
            self._set_image(pixels, keep=True)

    def _set_image(self, pixels: Pixels | None, *, keep: bool) -> None:
        """Show a picture, or none. `keep`: without a picture, keep the room of the last one."""
        before = self.has_class("-seen")
        if pixels is not None:
            self._draw(pixels)
        if self._picture is not None:
            self._picture.display = pixels is not None
        self.set_class(pixels is not None or (keep and before), "-seen")

    def _draw(self, pixels: Pixels) -> None:
        if self._picture is None:
            self._picture = images.make_image_widget(pixels)
            self.mount(self._picture)
        else:
            self._picture.image = pixels
        room = self._image_area()
        self._picture.styles.width, self._picture.styles.height = images.fit_to_cells(*pixels.size, *room)
        self.styles.width = room[0] + 2

    def _image_area(self) -> tuple[int, int]:
        """Columns and lines for a picture."""
        width, height = self.screen.size
        return max(MIN_IMAGE_COLUMNS, min(MAX_IMAGE_COLUMNS, width // 3)), max(1, height - 6)
