"""What the runner and its clients (dashboard, commands) say to each other: newline-delimited JSON over a Unix socket.

A client says `Hello` first; the runner answers `Welcome`. After `Subscribe` the runner sends the whole batch in `Snapshot`s,
then `Changes` a few times a second, and only when there are any. Every other request gets one `Reply` with its `id`.
No message holds a secret: no key, no upload credentials, no signed URL.
"""

from __future__ import annotations

from typing import Final

import msgspec

from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.options import Batch
from synthdub_tui.jobs.sharing import share

PROTOCOL: Final = 7
"""Raised when a message comes or changes its meaning. A runner of another protocol or program version is replaced."""

LINE_LIMIT: Final = 16 * 1024 * 1024
"""Longest line, in bytes, that either side reads."""

SNAPSHOT_JOBS: Final = 200
"""Jobs in one `Snapshot` message."""


class Cell(msgspec.Struct, frozen=True, array_like=True):
    """A dub, or with an empty language every dub of the job."""

    job: str
    language: str = ""


class Shown(msgspec.Struct, frozen=True, array_like=True):
    """A single dub as the user was shown it. Where `mark` is set, and the dub has another by now, it is left alone."""

    job: str
    language: str
    mark: str = ""


class _Request(msgspec.Struct, frozen=True, tag_field="do", kw_only=True):
    id: int = 0


class Hello(_Request, frozen=True, tag="hello"):
    """First message. `version` is the program's."""

    version: str
    protocol: int = PROTOCOL


class Subscribe(_Request, frozen=True, tag="subscribe"):
    """From now on, send the batch and what changes."""


class Status(_Request, frozen=True, tag="status"):
    """Reply with the batch's `Meters` in `result`."""


class Retry(_Request, frozen=True, tag="retry"):
    """Retry these dubs, marked with their `fingerprint`. What may be paid for again, and what moderation refused, only with
    `paid`: the user agreed to each of these dubs as it was shown.

    The reply's `result` counts `{"retried", "needs_paid"}`; its `changed` are dubs that were left, being different by now.
    """

    cells: tuple[Shown, ...]
    paid: bool = False


class Cancel(_Request, frozen=True, tag="cancel"):
    """Give these dubs up, marked with their `bill` where it was shown. `changed` are those that would leave another by now."""

    cells: tuple[Shown, ...]


class Remove(_Request, frozen=True, tag="remove"):
    """Take dubs that have ended out of the batch, marked with their `fingerprint`; files stay. Where something paid would be
    forgotten, only with `forget`.

    The reply's `result` counts `{"removed", "under_way", "paid"}`; the last two were left, as were its `changed`.
    """

    cells: tuple[Shown, ...]
    forget: bool = False


class Review(_Request, frozen=True, tag="review"):
    """Set or take back the review mark of finished outputs."""

    cells: tuple[Cell, ...]
    mark: bool = True


class Pause(_Request, frozen=True, tag="pause"):
    """Begin no upload, submission or download; what is under way finishes. Kept across restarts."""


class Resume(_Request, frozen=True, tag="resume"):
    """Take back `Pause`."""


class Stop(_Request, frozen=True, tag="stop"):
    """Save and end. The work resumes at the next start."""


class CheckKey(_Request, frozen=True, tag="check_key"):
    """Read the key again from environment, key file and configuration, and ask the service whether it takes it."""


class Thumbnail(_Request, frozen=True, tag="thumbnail"):
    """Find the picture of a dubbed video. The reply's `result` holds the `path` of a file, or nothing where there is none. It
    may take half a minute; other requests are answered meanwhile."""

    cell: Cell


class Add(_Request, frozen=True, tag="add"):
    """Add files and folders (absolute paths). Jobs are told of as they are found, and other requests answered meanwhile.

    The reply's `result` counts what was added, skipped and found wrong; `stopped` is 1 where a `StopAdding` ended it.
    """

    paths: tuple[str, ...]
    batch: Batch


class StopAdding(_Request, frozen=True, tag="stop_adding"):
    """Look no further for files; what was found stays. The `Add` that is stopped is answered with what it came to."""


class Adopt(_Request, frozen=True, tag="adopt"):
    """Follow this dub, in one language, in that project (its id), where the service has it. Nothing is paid. It may take half a
    minute; other requests are answered meanwhile."""

    cell: Cell
    project: str


class Relocate(_Request, frozen=True, tag="relocate"):
    """The file or folder `old` is `new` now (absolute paths). The reply's `result` counts the videos that `moved`."""

    old: str
    new: str


class AddLanguages(_Request, frozen=True, tag="add_languages"):
    """Add languages to jobs."""

    jobs: tuple[str, ...]
    languages: tuple[str, ...]


Request = (
    Hello | Subscribe | Status | Retry | Cancel | Remove | Review | Pause | Resume | Stop | CheckKey | Thumbnail
    | Add | StopAdding | AddLanguages | Adopt | Relocate
)  # fmt: skip


class Transfer(msgspec.Struct, frozen=True, array_like=True):
    """Bytes on the move: an upload (empty language) or the download of a language."""

    job: str
    language: str
    done: int
    total: int  # 0 if not known
    rate: float  # bytes per second over the last seconds


class QuotaMeter(msgspec.Struct, frozen=True, array_like=True):
    """One endpoint's use of the account's rate limit."""

    endpoint: str
    used: tuple[int, ...]  # calls within each window
    limits: tuple[tuple[int, float], ...]  # (calls, seconds) of each window
    wait: float  # seconds until the next call may go; 0 means now


class Comparing(msgspec.Struct, frozen=True, array_like=True):
    """A file whose content is read, to be compared with what is known of it."""

    path: str
    done: int  # bytes
    total: int
    waiting: int  # files that are compared after it


class Meters(msgspec.Struct, frozen=True, omit_defaults=True):
    """The batch as a whole."""

    now: float
    paused: bool = False
    problem: str = ""  # code of what holds up the whole batch (key_rejected, service_unreachable …)
    detail: str = ""
    up: float = 0.0  # bytes per second
    down: float = 0.0
    busy: bool = False  # whether some dub goes on by itself
    since: float = 0.0  # when the work that is under way began; 0 if there is none
    quota: tuple[QuotaMeter, ...] = ()
    comparing: Comparing | None = None


class _Message(msgspec.Struct, frozen=True, tag_field="is", kw_only=True):
    pass


class Welcome(_Message, frozen=True, tag="welcome"):
    """Answer to `Hello`."""

    version: str
    protocol: int
    pid: int
    foreground: bool = False  # a `synthdub run`: ends by itself, is not replaced


class Reply(_Message, frozen=True, tag="reply", omit_defaults=True):
    """Answer to a request. Where `code` is set it was not done, and the code is one of `problems.py`."""

    id: int
    code: str = ""
    detail: str = ""
    result: dict[str, int | str] = {}
    changed: tuple[Cell, ...] = ()  # dubs for which nothing was done, since they are not as they were shown
    meters: Meters | None = None


class Snapshot(_Message, frozen=True, tag="snapshot"):
    """Some of the batch's jobs, in the order in which they were added; `last` ends the snapshot."""

    jobs: list[Job]
    last: bool
    meters: Meters


class Changes(_Message, frozen=True, tag="changes", omit_defaults=True):
    """Jobs that changed since the last message, whole, ids of those that were removed, and everything that moves."""

    jobs: list[Job] = []
    removed: list[str] = []
    transfers: list[Transfer] = []
    meters: Meters | None = None


class Bye(_Message, frozen=True, tag="bye"):
    """The runner ends. `reason` is stopped, replaced or done."""

    reason: str


Message = Welcome | Reply | Snapshot | Changes | Bye

_encoder = msgspec.json.Encoder()
_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_messages: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


def encode(message: Request | Message) -> bytes:
    """One line, with its newline."""
    return _encoder.encode(message) + b"\n"


def decode_request(line: bytes) -> Request:
    """Raises msgspec.DecodeError (or its subclass ValidationError) for anything that is not a request."""
    return _requests.decode(line)


def decode_message(line: bytes) -> Message:
    """Raises msgspec.DecodeError (or its subclass ValidationError) for anything that is not a message."""
    message = _messages.decode(line)
    if isinstance(message, Snapshot | Changes):
        share(message.jobs)
    return message
