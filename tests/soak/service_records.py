"""What the sandbox's process tells the soaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from synthdub_tui.sandbox.service import Sandbox


class PaidRequestRecord(msgspec.Struct, frozen=True):
    """A paid request that arrived whole. `status` is that of the answer if it was sent whole, else 0."""

    time: float
    endpoint: str
    languages: tuple[str, ...]
    status: int
    billed: tuple[str, ...]
    fault: str
    title: str

    @property
    def surely_not_accepted(self) -> bool:
        """Whether whoever read the answer knows that nothing was begun, so that repeating it is safe."""
        return 400 <= self.status < 500

    def may_have_started(self, language: str) -> bool:
        """Whether this request may have begun a dub into that language, as far as anybody but the service can know."""
        if self.surely_not_accepted:
            return False
        return language in self.billed or self.status not in (202, 204)


class UnfinishedUpload(msgspec.Struct, frozen=True):
    """A multipart upload that was neither completed nor aborted."""

    asset: str
    title: str
    started: float


def unfinished_uploads(sandbox: Sandbox) -> list[UnfinishedUpload]:
    """The open multipart uploads of a sandbox."""
    assets = sandbox.state.assets
    found = []
    for upload in sandbox.storage.uploads.open_uploads.values():
        identity = upload.key.split("/")[1]
        found.append(UnfinishedUpload(identity, assets[identity].title, upload.started))
    return found
