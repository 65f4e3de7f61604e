"""`synthdub pause` and `synthdub resume`."""

from __future__ import annotations

import time

from synthdub_tui.commands.offline_batch import _Direct
from synthdub_tui.commands.runner_connection import _connected
from synthdub_tui.ipc.protocol import Pause, Resume
from synthdub_tui.settings.model import Settings


def pause(settings: Settings, *, paused: bool) -> int:
    """Pause the batch, so that nothing new starts, or resume it."""
    with _connected(settings) as control:
        if control is not None:
            control.ask(Pause(id=1) if paused else Resume(id=1))
        else:
            with _Direct(settings, time.time()) as direct:
                direct.store.write_document("batch", direct.store.read_document("batch") | {"paused": paused})
    goes_on = "Resumed." if control is not None else "Resumed; `synthdub run` goes on."
    print("Paused: what is under way finishes, nothing new begins." if paused else goes_on)
    return 0
