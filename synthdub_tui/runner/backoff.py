"""How long the runner waits before it repeats what failed, and for how long it goes on waiting."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """How long to wait, in seconds, and how often to try. Tests use shorter times."""

    initial_delay: float = 1.0  # first wait after a failed call; doubled each time
    max_delay: float = 60.0
    asset_poll_initial_delay: float = 1.0  # first pause between checks of an uploaded asset; each is longer by half
    asset_poll_max_delay: float = 30.0  # longest pause between two checks
    asset_unseen_timeout: float = 120.0  # the upload has ended, but the service still waits for it
    asset_ready_timeout: float = 900.0  # if the asset is not ready by then, try to dub it anyway
    max_download_attempts: int = 8  # tries of a download, each with a fresh URL and several connections
    upload_retry_delay: float = 5.0  # before a source is uploaded again; doubled while the storage is unavailable
    max_upload_attempts: int = 20  # tries of an upload while the storage is unavailable, each of several requests
    unsettled_timeout: float = 60.0  # for files that are still being written, when nothing else is left to do
    new_project_grace: float = 120.0  # after its creation, parts of the service may not know a project yet
    paid_answer_timeout: float = 200.0  # for the answer to a paid request that is known only from its receipt
    stop_timeout: float = 1.5  # for paid requests in progress when the runner ends
