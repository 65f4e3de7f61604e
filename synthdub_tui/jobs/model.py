"""Jobs and dubs: what is known of them, and nothing else. No I/O and no clock: callers pass `now`.

A job is one source video with its options; a dub is that job in one target language. Both are frozen: `changes.py` makes the
next version from the last, `plan.py` says what is to be done about a version. What is written here is what stands in
`jobs/<id>.toml`, so a person can read and mend it; runtime things (bytes moved, signed URLs, credentials) never are.

All times are seconds since the epoch, all sizes bytes.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

SCHEMA: Final = 4
"""Version of the state files. A file with a larger one comes from a newer synthdub and is left alone."""


class Stage(StrEnum):
    """Where a job stands as a whole; from `dubbing` on, each dub has its own state."""

    QUEUED = "queued"  # waits for an upload slot
    PREPARING = "preparing"  # the asset is being made
    UPLOADING = "uploading"
    PROCESSING = "processing"  # uploaded, the service looks at the file
    DUBBING = "dubbing"
    ENDED = "ended"  # no dub of it goes on by itself


class DubState(StrEnum):
    """State of one language of a job, a cell of the grid."""

    WAITING = "waiting"  # not submitted yet
    DUBBING = "dubbing"  # accepted by the service
    READY = "ready"  # complete at the service, not fetched yet
    DOWNLOADING = "downloading"
    DONE = "done"  # complete on disk, under its final name
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"  # a paid request may or may not have arrived; only the user decides


OPEN: Final = frozenset({DubState.WAITING, DubState.DUBBING, DubState.READY, DubState.DOWNLOADING})
"""States from which a dub goes on by itself, unless it is held."""

LEGAL: Final[dict[DubState, frozenset[DubState]]] = {
    DubState.WAITING: frozenset({DubState.DUBBING, DubState.FAILED, DubState.CANCELLED, DubState.UNKNOWN}),
    DubState.DUBBING: frozenset({DubState.READY, DubState.FAILED, DubState.CANCELLED}),
    DubState.READY: frozenset({DubState.DOWNLOADING, DubState.DONE, DubState.FAILED, DubState.CANCELLED}),
    DubState.DOWNLOADING: frozenset({DubState.DONE, DubState.READY, DubState.FAILED, DubState.CANCELLED}),
    DubState.DONE: frozenset({DubState.READY}),
    DubState.FAILED: frozenset({DubState.DUBBING, DubState.READY, DubState.WAITING}),
    DubState.CANCELLED: frozenset({DubState.WAITING, DubState.DUBBING, DubState.READY}),
    DubState.UNKNOWN: frozenset({DubState.DUBBING, DubState.WAITING, DubState.CANCELLED}),
}
"""Which state may follow which. READY → DONE is a download found complete at a start; FAILED → DUBBING looks again at a
project that was not found. A source that became a new version starts new dubs instead of moving old ones."""


NEVER: Final = 0.0
"""The time of what did not happen. One and the same number: what has its default is left out where it is this very object."""


class WaitsFor(StrEnum):
    """What a waiting dub waits for, where that is neither a free slot nor the service."""

    REST = "rest"  # the file is still being written, as far as can be seen
    ALREADY_PAID = "already_paid"  # a receipt says that this content was paid for in this language; only the user decides
    CLAIMED = "claimed"  # another batch is dubbing the same file; only the user goes past that
    PAUSE = "pause"  # the batch is paused


class Scope(StrEnum):
    """What a failure is about, which decides the rung of the retry ladder."""

    DOWNLOAD = "download"  # the service has it, this side could not save it
    LANGUAGE = "language"  # the service failed this language
    PROJECT = "project"  # the service failed the whole project
    SUBMISSION = "submission"  # refused before it was accepted: nothing was billed
    SOURCE = "source"  # the file could not be read, uploaded or used: nothing was billed


class Rung(StrEnum):
    """The retry ladder, cheapest first (`synthesia-api` digest, point 6)."""

    DOWNLOAD = "download"  # fetch again: free
    SUBMIT = "submit"  # a first submission: nothing was paid for this dub yet
    ADD = "add"  # PUT the locale to the same project: costs credits
    PROJECT = "project"  # a new project from the same asset: costs credits
    UPLOAD = "upload"  # a new upload and project: costs credits


PAID: Final = frozenset({Rung.ADD, Rung.PROJECT, Rung.UPLOAD})
"""Rungs on which credits are spent although some were, or may have been, spent on this dub before."""


class _Record(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=False, gc=False):
    """Base of all that is stored. Unknown fields are tolerated, so that a person may annotate a file.

    Nothing here can refer back to what holds it, so the cycle collector need not look: with 200,000 dubs its passes took
    longer than reading them.
    """


class Source(_Record, frozen=True):
    """The video file as it was when it was added. `sources.same_file` says when it is another version."""

    path: str
    size: int
    mtime_ns: int
    content_type: str
    digest: str = ""  # of its content, as `sources.digest` makes it; empty as long as it was not read whole


class Hold(_Record, frozen=True):
    """Why a waiting dub is not submitted before the user says so."""

    reason: WaitsFor
    at: float
    detail: str = ""


class Options(_Record, frozen=True):
    """What belongs, with the path, to a job's identity."""

    title: str
    source_language: str = "en"
    lipsync: bool = False
    video_duration: str = "adaptive"
    visibility: str = "private"


class Asset(_Record, frozen=True):
    """The source at the service. `uploaded` is set only once the service or S3 said so."""

    id: str
    created: float
    uploaded: bool = False
    ready: bool = False
    language: str = ""  # as detected by the service


class Submission(_Record, frozen=True):
    """A paid request about to be sent, on disk before it is. Found at a start, its outcome is unknown.

    `project` is empty for POST /v2/dubbing and names the project for PUT /v2/dubbing/{id}.
    """

    languages: tuple[str, ...]
    at: float
    project: str = ""
    asset: str = ""  # of a POST: what the project is made from


class Failure(_Record, frozen=True):
    """Why a dub failed: `code` is a key of `problems.py` or the service's own error code."""

    code: str
    scope: Scope
    at: float
    detail: str = ""  # words of the service or the system, untrusted


class Refusal(_Record, frozen=True):
    """Moderation refused a content. Nothing erases this, and it says nothing about another content."""

    language: str  # empty: the video as a whole, in whatever language
    at: float
    size: int  # of the content, in bytes
    digest: str = ""  # of the content; empty where it was not known
    words: str = ""  # of the service, untrusted

    def is_about(self, source: Source) -> bool:
        """Whether the source may hold that content. It does not where size or digest say so."""
        digests = {self.digest, source.digest} - {""}
        return self.size == source.size and len(digests) < 2


class Oddity(_Record, frozen=True):
    """The service says something of a language that nobody here knows: the word, since when, and how often in a row, up to a
    limit."""

    word: str  # untrusted
    since: float
    polls: int = 1


class Part(_Record, frozen=True):
    """A download under way. `etag` lets it continue; once complete, size and time tell that the final file is ours."""

    size: int
    etag: str = ""
    mtime_ns: int = 0  # set just before the rename


_FIXED: Final = struct.Struct("<qqd")
_TIME: Final = struct.Struct("<q")
_ENDINGS: Final[dict[tuple[str, ...], tuple[str, ...]]] = {}
"""How the paths of outputs end: some for each language."""


class Output(_Record, frozen=True, kw_only=True):
    """A finished file of ours. Where `sources.same_file` sees another on disk, somebody changed it since.

    Made by `Output.of`, and packed, since a batch may have 200,000: as texts and numbers of their own, paths and times were
    half of what it takes in memory.
    """

    stem: str  # what all its paths begin with: the same for every language of a job
    endings: tuple[str, ...]  # of the video's path, then of the captions': the same for every job
    numbers: bytes
    reviewed: bool = False

    @classmethod
    def of(
        cls,
        path: str,
        size: int,
        mtime_ns: int,
        captions: Sequence[str] = (),
        *,
        reviewed: bool = False,
        seconds: float = 0.0,
        captions_ns: Sequence[int] = (),
    ) -> Output:
        """A video of `seconds` playing time, 0 if not known, with the paths of its captions and their modification times."""
        stem = path[: max(0, path.rfind(".dubbed-"))]
        if not all(caption.startswith(stem) for caption in captions):
            stem = ""
        endings = tuple(whole[len(stem) :] for whole in (path, *captions))
        return cls(stem=stem, endings=endings, numbers=_packed(size, mtime_ns, seconds, captions_ns), reviewed=reviewed)

    def __post_init__(self) -> None:
        """Refer to one and the same of what other outputs have, too, however this one was made: here, or by a decoder."""
        if self.stem:
            msgspec.structs.force_setattr(self, "stem", sys.intern(self.stem))
            msgspec.structs.force_setattr(self, "endings", _ENDINGS.setdefault(self.endings, self.endings))

    @property
    def path(self) -> str:
        """Where the video is."""
        return self.stem + self.endings[0]

    @property
    def captions(self) -> tuple[str, ...]:
        """Where its captions are."""
        return tuple([self.stem + ending for ending in self.endings[1:]])

    @property
    def size(self) -> int:
        """Bytes of the video."""
        return int(_FIXED.unpack_from(self.numbers)[0])

    @property
    def mtime_ns(self) -> int:
        """When the video was written."""
        return int(_FIXED.unpack_from(self.numbers)[1])

    @property
    def seconds(self) -> float:
        """Playing time, 0 if not known."""
        return float(_FIXED.unpack_from(self.numbers)[2])

    @property
    def captions_ns(self) -> tuple[int, ...]:
        """Modification times of captions that we wrote: only they are ours."""
        return tuple(time for (time,) in _TIME.iter_unpack(self.numbers[_FIXED.size :]))

    def with_captions(self, times: Sequence[int]) -> Output:
        """As it is, but for the modification times of its captions."""
        return msgspec.structs.replace(self, numbers=_packed(self.size, self.mtime_ns, self.seconds, times))


def _packed(size: int, mtime_ns: int, seconds: float, captions_ns: Sequence[int]) -> bytes:
    return _FIXED.pack(size, mtime_ns, seconds) + b"".join(map(_TIME.pack, captions_ns))


class Dub(_Record, frozen=True):
    """One language of a job."""

    state: DubState
    since: float  # when it entered the state
    submitted: float = NEVER  # when the service accepted it last
    project: str = ""  # id at the service
    video: str = ""  # id of the dubbed asset at the service
    tried: tuple[Rung, ...] = ()  # paid rungs climbed so far
    next_rung: Rung | None = None  # how a waiting dub is to be submitted, where a retry decided it
    erred: bool = False  # the service failed it in this project before, and may go on listing that
    old_video: str = ""  # id under which it did, where there was one, to tell a new try from the old
    absent_since: float = NEVER  # the project is complete and does not list this language
    odd: Oddity | None = None  # kept by a retry that looks again: one look then is enough
    checked: bool = False  # the project was asked, and has no try of this language under way
    failure: Failure | None = None
    hold: Hold | None = None  # of a waiting dub: it is not submitted while this is set
    agreed: tuple[str, ...] = ()  # codes of what speaks against submitting it, and the user went past
    stale: bool = False  # submitted with an earlier version of the source
    part: Part | None = None
    landed: Part | None = None  # of an earlier try, given up after its landing was noted: ours, if it has the final name
    captions_ns: tuple[int, ...] = ()  # modification times of captions that we write before the output is complete
    output: Output | None = None
    captions_tries: int = 0  # in a row that ended with the video, but without all of its captions

    @property
    def lacks_captions(self) -> bool:
        """Whether it is done but for captions that could not be saved; `failure` says why."""
        return self.state is DubState.DONE and self.failure is not None


class Job(_Record, frozen=True):
    """One source video, its options and its dubs, in the order in which the languages were asked for."""

    id: str
    source: Source
    options: Options
    added: float
    dubs: dict[str, Dub] = {}
    schema: int = SCHEMA
    stage: Stage = Stage.QUEUED
    outputs: str = ""  # folder of the outputs; empty: beside the source
    mount: str = ""  # where the volume of the outputs was mounted when they were asked for; empty: the root's, or not known
    captions: bool = True
    unsettled: bool = False  # its waiting dubs wait until the source comes to rest (`WaitsFor.REST`)
    asset: Asset | None = None
    uploads: int = 0  # since the user last acted, to bound automatic repeats
    version: int = 0  # raised when the source is to be uploaded anew on purpose
    forced: float = NEVER  # when the user had this version begun anew, whatever was paid for before (--force-new)
    projects: dict[str, str] = {}  # of use: id → id of the asset it was made from, oldest first; empty if it takes no more
    submission: Submission | None = None
    refused: tuple[Refusal, ...] = ()  # by moderation, earlier contents of the source included; outlives the dubs

    @property
    def name(self) -> str:
        """File name of the source, untrusted text."""
        return self.source.path.rpartition("/")[2]

    @property
    def open(self) -> bool:
        """Whether some dub has not ended; it may wait for the user."""
        return any(dub.state in OPEN for dub in self.dubs.values())

    @property
    def can_go_on(self) -> bool:
        """Whether some dub goes on by itself."""
        return any(dub.state in OPEN and dub.hold is None for dub in self.dubs.values())

    @property
    def paid_for(self) -> bool:
        """Whether something was paid for this version of the video, or may have been."""
        return self.submission is not None or any(
            dub.project or (dub.failure is not None and dub.failure.code == "submission_unknown")
            for dub in self.dubs.values()
            if not dub.stale
        )

    @property
    def unsent(self) -> tuple[str, ...]:
        """Waiting languages for which no paid request is under way, and which nothing holds."""
        sent = self.submission.languages if self.submission else ()
        waiting = self.in_state(DubState.WAITING)
        return tuple(language for language in waiting if language not in sent and self.dubs[language].hold is None)

    @property
    def held(self) -> tuple[str, ...]:
        """Waiting languages that are not submitted before the user says so."""
        return tuple(language for language in self.in_state(DubState.WAITING) if self.dubs[language].hold is not None)

    def waits_for(self, language: str, *, paused: bool = False) -> WaitsFor | None:
        """What keeps a dub from its next step besides a slot and the service. `paused`: whether the batch is."""
        dub = self.dubs[language]
        if paused and dub.state is DubState.READY:
            return WaitsFor.PAUSE
        if dub.state is not DubState.WAITING:
            return None
        if dub.hold is not None:
            return dub.hold.reason
        if self.unsettled and self.asset is None:
            return WaitsFor.REST
        return WaitsFor.PAUSE if paused else None

    def refusal(self, language: str) -> Refusal | None:
        """The last refusal by moderation that holds for this language of the present source."""
        return next(
            (each for each in reversed(self.refused) if each.language in ("", language) and each.is_about(self.source)), None
        )

    def in_state(self, *states: DubState) -> tuple[str, ...]:
        """Languages whose dub is in one of these states."""
        return tuple(language for language, dub in self.dubs.items() if dub.state in states)


class SeenState(StrEnum):
    """What the service says of one language."""

    RUNNING = "running"
    COMPLETE = "complete"
    ERROR = "error"


class Seen(msgspec.Struct, frozen=True):
    """One language of a project as the service sees it. `video` is empty where it gives no id. `oddity`: why it counts as
    running although the service does not say so."""

    language: str
    state: SeenState
    video: str = ""
    code: str = ""
    oddity: str = ""


class ProjectSeen(msgspec.Struct, frozen=True):
    """A project as the service sees it. In state ERROR, `code` is about the whole; what it lists as complete is there still."""

    state: SeenState
    code: str = ""
    languages: tuple[Seen, ...] = ()
    oddity: str = ""


class Counts(msgspec.Struct, frozen=True):
    """Dubs of a batch by state; what the summary and `status` show. `held` are those of `waiting` and `ready` that need the
    user."""

    jobs: int = 0
    dubs: int = 0
    waiting: int = 0
    dubbing: int = 0
    ready: int = 0
    downloading: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    unknown: int = 0
    held: int = 0

    @property
    def ended(self) -> int:
        """Dubs that do not go on by themselves."""
        return self.done + self.failed + self.cancelled + self.unknown


def count(jobs: Iterable[Job], *, paused: bool = False) -> Counts:
    """Counts over any iterable of jobs. In a paused batch every dub that waits or is ready needs the user."""
    totals = dict.fromkeys(Counts.__struct_fields__, 0)
    for job in jobs:
        totals["jobs"] += 1
        totals["dubs"] += len(job.dubs)
        for language, dub in job.dubs.items():
            totals[dub.state.value] += 1
            if dub.state in (DubState.WAITING, DubState.READY) and job.waits_for(language, paused=paused) is not None:
                totals["held"] += 1
    return Counts(**totals)
