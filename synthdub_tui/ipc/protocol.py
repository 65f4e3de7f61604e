"""Messages between the runner and its clients (dashboard, commands): newline-delimited JSON over a Unix socket.

A client sends `Hello` first, and the runner answers `Welcome`. Every other request gets one `Reply` with its `id`. After
`SubscribeRequest` the runner first sends the whole batch in `Snapshot`s, then `Changes` a few times a second while there are
any. No message contains a secret: no API key, no upload credentials, no signed URL.
"""

from __future__ import annotations

from typing import Final

import msgspec

from synthdub_tui.jobs.batch_options import BatchOptions
from synthdub_tui.jobs.model import Job
from synthdub_tui.store.interning import share_equal_values

PROTOCOL_VERSION: Final = 7
"""Version of the protocol; increase it with each new message or changed meaning. A dashboard replaces a runner of another
protocol or program version."""

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""Longest line, in bytes, that either side reads."""

SNAPSHOT_JOBS: Final = 200
"""Jobs in one `Snapshot` message."""


class DubRef(msgspec.Struct, frozen=True, array_like=True):
    """A dub, or every dub of the job if the language is empty."""

    job: str
    language: str = ""


class ShownDub(msgspec.Struct, frozen=True, array_like=True):
    """A dub as the user saw it. If `mark` is set and no longer matches the dub, the request skips the dub."""

    job: str
    language: str
    state_mark: str = ""


class _Request(msgspec.Struct, frozen=True, tag_field="do", kw_only=True):
    id: int = 0


class Hello(_Request, frozen=True, tag="hello"):
    """The first message. `version`: of the client's program."""

    version: str
    protocol: int = PROTOCOL_VERSION


class SubscribeRequest(_Request, frozen=True, tag="subscribe"):
    """Send the batch, and from now on its changes."""


class StatusRequest(_Request, frozen=True, tag="status"):
    """Reply with the batch's `BatchStatus` in `meters`."""


class RetryRequest(_Request, frozen=True, tag="retry"):
    """Retry these dubs. Their mark is a `dub_fingerprint`.

    Dubs that may cost credits, or that moderation refused, are retried only with `paid`: the user agreed to each as shown. The
    reply's `result` counts `{"retried", "needs_paid"}`; its `changed` lists dubs skipped because they have changed.
    """

    cells: tuple[ShownDub, ...]
    paid: bool = False


class CancelRequest(_Request, frozen=True, tag="cancel"):
    """Cancel these dubs. Their mark is a `bill_if_cancelled`, if the user saw one.

    The reply's `result` counts `{"cancelled"}`; its `changed` lists dubs skipped because the bill would be another by now.
    """

    cells: tuple[ShownDub, ...]


class RemoveRequest(_Request, frozen=True, tag="remove"):
    """Remove dubs that have ended from the batch; files stay. Their mark is a `dub_fingerprint`.

    Dubs whose removal forgets something paid are removed only with `forget`. The reply's `result` counts
    `{"removed", "under_way", "paid"}`; the last two were skipped, as were the dubs in its `changed`.
    """

    cells: tuple[ShownDub, ...]
    forget: bool = False


class ReviewRequest(_Request, frozen=True, tag="review"):
    """Set or remove the review mark of finished outputs. The reply's `result` counts `{"reviewed"}`."""

    cells: tuple[DubRef, ...]
    mark: bool = True


class PauseRequest(_Request, frozen=True, tag="pause"):
    """Start no upload, submission or download; those in progress finish. The pause is kept across restarts."""


class ResumeRequest(_Request, frozen=True, tag="resume"):
    """End a `PauseRequest`."""


class StopRequest(_Request, frozen=True, tag="stop"):
    """Save and end the runner. The work resumes at the next start."""


class CheckKeyRequest(_Request, frozen=True, tag="check_key"):
    """Read the API key again from environment, key file and configuration, and ask the service whether it accepts the key."""


class ThumbnailRequest(_Request, frozen=True, tag="thumbnail"):
    """Find the picture of a dubbed video. The reply's `result` contains the `path` of a file; it is empty if there is none.

    This may take 30 seconds; other requests are answered meanwhile.
    """

    cell: DubRef


class AddRequest(_Request, frozen=True, tag="add"):
    """Add files and folders (absolute paths). New jobs appear in `Changes` as they are found; other requests are answered
    meanwhile.

    The reply's `result` counts what was added, skipped and compared, and problems; `stopped` is 1 if `StopAddingRequest` ended
    it.
    """

    paths: tuple[str, ...]
    batch: BatchOptions


class StopAddingRequest(_Request, frozen=True, tag="stop_adding"):
    """Stop searching and comparing files; what was found stays in the batch. Each stopped `AddRequest` gets its reply."""


class AdoptRequest(_Request, frozen=True, tag="adopt"):
    """Follow this dub, a single language, in the project with that id. Nothing is paid.

    This may take 30 seconds; other requests are answered meanwhile.
    """

    cell: DubRef
    project: str


class RelocateRequest(_Request, frozen=True, tag="relocate"):
    """Note that the file or folder `old` is now `new` (absolute paths). The reply's `result` counts the videos that `moved`."""

    old: str
    new: str


class AddLanguagesRequest(_Request, frozen=True, tag="add_languages"):
    """Add languages to jobs. The reply's `result` counts the new `dubs`."""

    jobs: tuple[str, ...]
    languages: tuple[str, ...]


Request = (
    Hello | SubscribeRequest | StatusRequest | RetryRequest | CancelRequest | RemoveRequest | ReviewRequest | PauseRequest
    | ResumeRequest | StopRequest | CheckKeyRequest | ThumbnailRequest | AddRequest
    | StopAddingRequest | AddLanguagesRequest | AdoptRequest | RelocateRequest
)  # fmt: skip


class Transfer(msgspec.Struct, frozen=True, array_like=True):
    """A transfer in progress: an upload (empty language) or the download of a language. Numbers are in bytes."""

    job: str
    language: str
    done: int
    total: int  # 0 if not known
    rate: float  # bytes per second over the last seconds


class RateLimitUsage(msgspec.Struct, frozen=True, array_like=True):
    """One endpoint's use of the account's rate limit."""

    endpoint: str
    used: tuple[int, ...]  # calls within each window
    limits: tuple[tuple[int, float], ...]  # (calls, seconds) of each window
    wait: float  # seconds until the next call may start; 0: now


class ComparisonProgress(msgspec.Struct, frozen=True, array_like=True):
    """A file that is being read to compare its content."""

    path: str
    done: int  # bytes
    total: int
    waiting: int  # files still to compare after this one


class BatchStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of the batch as a whole."""

    now: float
    paused: bool = False
    problem: str = ""  # code of the problem that stops the whole batch (key_rejected, service_unreachable …)
    detail: str = ""
    up: float = 0.0  # bytes per second
    down: float = 0.0
    busy: bool = False  # whether anything is in progress, or not on disk yet
    since: float = 0.0  # when the work in progress began; 0 if there is none
    quota: tuple[RateLimitUsage, ...] = ()
    comparing: ComparisonProgress | None = None


class _Message(msgspec.Struct, frozen=True, tag_field="is", kw_only=True):
    pass


class Welcome(_Message, frozen=True, tag="welcome"):
    """The answer to `Hello`."""

    version: str
    protocol: int
    pid: int
    foreground: bool = False  # a `synthdub run`: it ends with its work, and is never replaced


class Reply(_Message, frozen=True, tag="reply", omit_defaults=True):
    """The answer to a request. If `code` is set, the request failed; the codes are those of `problems.py`."""

    id: int
    code: str = ""
    detail: str = ""
    result: dict[str, int | str] = {}
    changed: tuple[DubRef, ...] = ()  # dubs skipped because they changed since the user saw them
    meters: BatchStatus | None = None


class Snapshot(_Message, frozen=True, tag="snapshot"):
    """A part of the batch's jobs, in the order in which they were added. `last`: this part ends the snapshot."""

    jobs: list[Job]
    last: bool
    meters: BatchStatus


class Changes(_Message, frozen=True, tag="changes", omit_defaults=True):
    """Jobs that changed since the last message (in full), ids of removed jobs, and all transfers in progress."""

    jobs: list[Job] = []
    removed: list[str] = []
    transfers: list[Transfer] = []
    meters: BatchStatus | None = None


class Bye(_Message, frozen=True, tag="bye"):
    """The runner ends. `reason` is "stopped" or "done"."""

    reason: str


Message = Welcome | Reply | Snapshot | Changes | Bye

_encoder = msgspec.json.Encoder()
_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_messages: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


def encode(message: Request | Message) -> bytes:
    """Returns the message as one line with its newline."""
    return _encoder.encode(message) + b"\n"


def decode_request(line: bytes) -> Request:
    """Returns the request in a line. Raises msgspec.DecodeError (or its subclass ValidationError) if there is none."""
    return _requests.decode(line)


def decode_message(line: bytes) -> Message:
    """Returns the message in a line. Raises msgspec.DecodeError (or its subclass ValidationError) if there is none."""
    message = _messages.decode(line)
    if isinstance(message, Snapshot | Changes):
        share_equal_values(message.jobs)
    return message
