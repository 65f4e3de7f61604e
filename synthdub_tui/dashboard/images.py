"""Pictures in a terminal, if the extra `thumbnails` is installed (textual-image and Pillow, imported only here).

Only the half cells of textual-image are used: characters, like everything else on the screen. They work in tmux, on slow links,
with our own painter and below dialogs. Sixel and Kitty's protocol do not, and the terminal would have to be asked for support.
textual-image does ask when it is imported, and reads the answer from the keyboard, which Textual reads by then. So standard
output is no terminal while it is imported.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels
    from textual.app import App
    from textual_image.widget import HalfcellImage

IMAGE_FORMATS: Final = ("PNG", "JPEG")
COLOR_SYSTEMS_FOR_IMAGES: Final = frozenset({"256", "truecolor"})
"""Rich's names for terminals with enough colours for a picture."""

_import_lock: Final = threading.Lock()


def terminal_shows_images(app: App[Any]) -> bool:
    """Whether the terminal has enough colours for pictures."""
    return app.console.color_system in COLOR_SYSTEMS_FOR_IMAGES and not app.no_color


def fit_to_cells(width: int, height: int, most_columns: int, most_lines: int) -> tuple[int, int]:
    """Columns and lines for a picture of these pixels, as large as fits. A cell is about twice as high as wide."""
    scale = min(most_columns / width, 2 * most_lines / height)
    return max(1, round(width * scale)), max(1, round(height * scale / 2))


def load(path: str, columns: int, lines: int) -> Pixels | None:
    """The picture, reduced to what these cells can show; None if it cannot be read or shown here. Blocks."""
    try:
        with _import_lock, _stdout_without_terminal():
            from PIL import Image  # noqa: PLC0415 - an extra, and slow
            from textual_image.widget import HalfcellImage  # noqa: F401, PLC0415 - so that `make_image_widget` finds it imported
    except ImportError:
        return None
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as file:
            file.draft("RGB", (columns * 2, lines * 4))
            pixels = file.convert("RGB")
    except Exception:  # noqa: BLE001 - Pillow's decoders raise many kinds of exceptions for damaged files
        return None
    pixels.thumbnail((columns * 2, lines * 4))
    return pixels


def make_image_widget(pixels: Pixels) -> HalfcellImage:
    """A widget that shows the pixels from `load`."""
    from textual_image.widget import HalfcellImage  # noqa: PLC0415

    return HalfcellImage(pixels)


@contextmanager
def _stdout_without_terminal() -> Iterator[None]:
    """Meanwhile, `sys.__stdout__` is no terminal. Textual draws on standard error, and `print` uses `sys.stdout`."""
    before = sys.__stdout__
    sys.__stdout__ = io.StringIO()  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        sys.__stdout__ = before  # type: ignore[misc]
