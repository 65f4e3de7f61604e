"""An input line that handles keys in the order in which they are typed."""

from __future__ import annotations

from textual import events
from textual.binding import Binding
from textual.dom import DOMNode
from textual.widgets import Input


class OrderedInput(Input):
    """Textual passes keys that are bound to actions (backspace, ctrl+u, tab) up to the screen, and inserts the next letters
    before these keys act. On a slow link, which brings many keys at once, `ctrl+u a` would clear the `a`.

    Here such keys act at once: those of the input, and those in `keys_for_screen`, which are for the screen around it.
    """

    keys_for_screen: tuple[str, ...] = ()

    def check_consume_key(self, key: str, character: str | None) -> bool:
        return key not in self.keys_for_screen and super().check_consume_key(key, character)

    async def on_key(self, event: events.Key) -> None:
        node: DOMNode = self.screen if event.key in self.keys_for_screen else self
        bound: list[Binding] = node._bindings.key_to_bindings.get(event.key, [])
        if bound or node is not self:
            event.prevent_default()
            event.stop()
        if bound:
            await node.run_action(bound[0].action)  # type: ignore[attr-defined]

    def on_paste(self, event: events.Paste) -> None:
        """Insert all pasted lines as one. Textual inserts only the first, which may be empty, and silently drops the rest."""
        event.prevent_default()
        event.stop()
        text = " ".join(line.strip() for line in event.text.splitlines() if line.strip())
        super()._on_paste(events.Paste("".join(char for char in text if char.isprintable())))
