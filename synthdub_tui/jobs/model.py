"""The recorded facts about jobs and dubs, and nothing else. No I/O and no clock: callers pass `now`.

A job is one source video with its options; a dub is that job in one target language. Both are frozen: `transitions` make
the next version from the last, `reconcile.py` decides which activities a version needs. A job's facts are written to
`jobs/<id>.toml`, so that a person can read and repair them. Runtime values (bytes moved, signed URLs, credentials) are never
written.

Times are seconds since the epoch (nanoseconds if the name ends in `_ns`), sizes are bytes.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

SCHEMA_VERSION: Final = 4
"""Version of the state files. A file with a larger one comes from a newer synthdub, and is left alone."""


class Stage(StrEnum):
    """Progress of a job as a whole. From `dubbing` on, each dub has its own state."""

    QUEUED = "queued"  # waits for an upload slot
    PREPARING = "preparing"  # the asset is being created
    UPLOADING = "uploading"
    PROCESSING = "processing"  # uploaded; the service is processing the file
    DUBBING = "dubbing"
    ENDED = "ended"  # all its dubs have ended


class DubState(StrEnum):
    """State of one language of a job: a cell of the dashboard's grid."""

    WAITING = "waiting"  # not submitted yet
    DUBBING = "dubbing"  # accepted by the service
    READY = "ready"  # complete at the service, not downloaded yet
    DOWNLOADING = "downloading"
    DONE = "done"  # complete on disk, under its final name
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"  # a paid request may or may not have arrived; only the user decides


OPEN_STATES: Final = frozenset({DubState.WAITING, DubState.DUBBING, DubState.READY, DubState.DOWNLOADING})
"""States from which a dub continues automatically, unless it is held."""

LEGAL_TRANSITIONS: Final[dict[DubState, frozenset[DubState]]] = {
    DubState.WAITING: frozenset({DubState.DUBBING, DubState.FAILED, DubState.CANCELLED, DubState.UNKNOWN}),
    DubState.DUBBING: frozenset({DubState.READY, DubState.FAILED, DubState.CANCELLED}),
    DubState.READY: frozenset({DubState.DOWNLOADING, DubState.DONE, DubState.FAILED, DubState.CANCELLED}),
    DubState.DOWNLOADING: frozenset({DubState.DONE, DubState.READY, DubState.FAILED, DubState.CANCELLED}),
    DubState.DONE: frozenset({DubState.READY}),
    DubState.FAILED: frozenset({DubState.DUBBING, DubState.READY, DubState.WAITING}),
    DubState.CANCELLED: frozenset({DubState.WAITING, DubState.DUBBING, DubState.READY}),
    DubState.UNKNOWN: frozenset({DubState.DUBBING, DubState.WAITING, DubState.CANCELLED}),
}
"""The states that may follow each state. READY → DONE: a start finds the download complete. FAILED → DUBBING: a retry polls
the project again, for example one that was not found. A new version of the source starts new dubs instead of moving old
ones."""


NEVER: Final = 0.0
"""Time of an event that has not happened. Use this very object: only then is the default left out of a file."""


class WaitReason(StrEnum):
    """What a waiting dub waits for, other than a free slot or the service."""

    SETTLING = "rest"  # the file is apparently still being written
    ALREADY_PAID = "already_paid"  # a receipt shows that this content was paid for in this language; only the user decides
    CLAIMED = "claimed"  # another batch is dubbing the same file; only the user overrides that
    PAUSE = "pause"  # the batch is paused


class FailureScope(StrEnum):
    """What a failure concerns. It decides which step a retry takes."""

    DOWNLOAD = "download"  # the service has it, this side could not save it
    LANGUAGE = "language"  # the service failed this language
    PROJECT = "project"  # the service failed the whole project
    SUBMISSION = "submission"  # refused before it was accepted: nothing was billed
    SOURCE = "source"  # the file could not be read, uploaded or used: nothing was billed


class RetryStep(StrEnum):
    """Steps of a retry, cheapest first."""

    DOWNLOAD = "download"  # download again: free
    SUBMIT = "submit"  # a first submission: nothing was paid for this dub yet
    ADD_LANGUAGE = "add"  # PUT the locale to the same project: costs credits
    NEW_PROJECT = "project"  # a new project from the same asset: costs credits
    NEW_UPLOAD = "upload"  # a new upload and project: costs credits


PAID_STEPS: Final = frozenset({RetryStep.ADD_LANGUAGE, RetryStep.NEW_PROJECT, RetryStep.NEW_UPLOAD})
"""Steps that spend credits although some were, or may have been, spent on this dub before."""


class _Record(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=False, gc=False):
    """Base of all stored records. Unknown fields are tolerated, so that a person may annotate a file.

    A record cannot refer back to its owner, so no cycle collector is needed: with 200,000 dubs, its passes took longer than
    reading.
    """


class Source(_Record, frozen=True):
    """The video file as it was when it was added. `sources.same_file` decides whether a file is another version."""

    path: str
    size: int
    mtime_ns: int
    content_type: str
    digest: str = ""  # of the content, as `sources.digest` makes it; empty until the file was read whole


class Hold(_Record, frozen=True):
    """Why a waiting dub is not submitted until the user decides."""

    reason: WaitReason
    at: float
    detail: str = ""


class JobOptions(_Record, frozen=True):
    """The options that, with the path, identify a job."""

    title: str
    source_language: str = "en"
    lipsync: bool = False
    video_duration: str = "adaptive"
    visibility: str = "private"


class Asset(_Record, frozen=True):
    """The source at the service. `uploaded` is set only after the service or S3 confirmed it."""

    id: str
    created: float
    uploaded: bool = False
    ready: bool = False
    language: str = ""  # as the service detected it


class Submission(_Record, frozen=True):
    """A paid request, saved before it is sent. If a start finds it, its outcome is unknown.

    `project` is empty for POST /v2/dubbing and names the project for PUT /v2/dubbing/{id}.
    """

    languages: tuple[str, ...]
    at: float
    project: str = ""
    asset: str = ""  # for POST: the asset of the new project


class Failure(_Record, frozen=True):
    """Why a dub failed. `code` is a key of `problems.PROBLEMS`, or the service's own error code."""

    code: str
    scope: FailureScope
    at: float
    detail: str = ""  # message of the service or the system, untrusted


class ModerationRefusal(_Record, frozen=True):
    """Moderation refused a content. The record is never erased, and concerns no other content."""

    language: str  # empty: the video as a whole, in every language
    at: float
    size: int  # bytes of the content
    digest: str = ""  # of the content; empty if not known
    words: str = ""  # message of the service, untrusted

    def applies_to(self, source: Source) -> bool:
        """Whether the source may have that content: its size is equal, and its digest does not differ."""
        digests = {self.digest, source.digest} - {""}
        return self.size == source.size and len(digests) < 2


class UnknownStatus(_Record, frozen=True):
    """An unknown status of a language: the service's word, since when, and for how many polls in a row, up to a limit."""

    word: str  # untrusted
    since: float
    polls: int = 1


class PartRecord(_Record, frozen=True):
    """A download in progress. `etag` lets it continue. Once it is complete, size and time identify the final file as ours."""

    size: int
    etag: str = ""
    mtime_ns: int = 0  # set just before the rename


_OUTPUT_NUMBERS: Final = struct.Struct("<qqd")
_CAPTION_TIME: Final = struct.Struct("<q")
_SHARED_ENDINGS: Final[dict[tuple[str, ...], tuple[str, ...]]] = {}
"""Shared endings of the paths of outputs: a few for each language."""


class Output(_Record, frozen=True, kw_only=True):
    """A finished file that synthdub wrote. If `sources.same_file` sees another version on disk, it was changed since.

    Create one with `Output.of`. Its values are packed, since a batch may have 200,000: separate paths and times took half of
    the memory.
    """

    stem: str  # common beginning of all its paths: the same for every language of a job
    endings: tuple[str, ...]  # of the video's path, then of the captions' paths: the same for every job
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
        """An output of `seconds` playing time (0 if not known), with the paths of its captions and their modification times."""
        stem = path[: max(0, path.rfind(".dubbed-"))]
        if not all(caption.startswith(stem) for caption in captions):
            stem = ""
        endings = tuple(whole[len(stem) :] for whole in (path, *captions))
        return cls(stem=stem, endings=endings, numbers=_pack_numbers(size, mtime_ns, seconds, captions_ns), reviewed=reviewed)

    def __post_init__(self) -> None:
        """Share equal texts with other outputs, whether this one was created here or by a decoder."""
        if self.stem:
            msgspec.structs.force_setattr(self, "stem", sys.intern(self.stem))
            msgspec.structs.force_setattr(self, "endings", _SHARED_ENDINGS.setdefault(self.endings, self.endings))

    @property
    def path(self) -> str:
        """Path of the video."""
        return self.stem + self.endings[0]

    @property
    def captions(self) -> tuple[str, ...]:
        """Paths of the captions."""
        return tuple([self.stem + ending for ending in self.endings[1:]])

    @property
    def size(self) -> int:
        """Bytes of the video."""
        return int(_OUTPUT_NUMBERS.unpack_from(self.numbers)[0])

    @property
    def mtime_ns(self) -> int:
        """Modification time of the video, in nanoseconds."""
        return int(_OUTPUT_NUMBERS.unpack_from(self.numbers)[1])

    @property
    def seconds(self) -> float:
        """Playing time in seconds, 0 if not known."""
        return float(_OUTPUT_NUMBERS.unpack_from(self.numbers)[2])

    @property
    def captions_ns(self) -> tuple[int, ...]:
        """Modification times, in nanoseconds, of captions that synthdub wrote: only these are ours."""
        return tuple(time for (time,) in _CAPTION_TIME.iter_unpack(self.numbers[_OUTPUT_NUMBERS.size :]))

    def with_caption_times(self, times: Sequence[int]) -> Output:
        """This output with other modification times of its captions."""
        return msgspec.structs.replace(self, numbers=_pack_numbers(self.size, self.mtime_ns, self.seconds, times))


def _pack_numbers(size: int, mtime_ns: int, seconds: float, captions_ns: Sequence[int]) -> bytes:
    return _OUTPUT_NUMBERS.pack(size, mtime_ns, seconds) + b"".join(map(_CAPTION_TIME.pack, captions_ns))


class Dub(_Record, frozen=True):
    """One language of a job."""

    state: DubState
    since: float  # when the state began
    submitted: float = NEVER  # when the service last accepted it
    project: str = ""  # id at the service
    video: str = ""  # id of the dubbed asset at the service
    tried: tuple[RetryStep, ...] = ()  # paid steps that retries have taken so far
    next_rung: RetryStep | None = None  # how to submit a waiting dub, if a retry decided it
    erred: bool = False  # the service failed it in this project before, and may still list that
    old_video: str = ""  # id of the failed try, if it had one, to tell a new try from the old
    absent_since: float = NEVER  # since when the project is complete without this language
    odd: UnknownStatus | None = None  # kept by a retry that checks again: one poll is enough then
    checked: bool = False  # the project was polled, and has no try of this language in progress
    failure: Failure | None = None
    hold: Hold | None = None  # a waiting dub is not submitted while this is set
    agreed: tuple[str, ...] = ()  # codes of the reasons against submitting it that the user has overridden
    stale: bool = False  # submitted with an earlier version of the source
    part: PartRecord | None = None
    landed: PartRecord | None = (
        None  # of an earlier try, given up while its file was getting the final name: such a file is ours
    )
    captions_ns: tuple[int, ...] = ()  # modification times of captions that are written before the output is complete
    output: Output | None = None
    captions_tries: int = 0  # tries in a row that saved the video, but not all of its captions

    @property
    def lacks_captions(self) -> bool:
        """Whether it is done except for captions that could not be saved. `failure` says why."""
        return self.state is DubState.DONE and self.failure is not None


class Job(_Record, frozen=True):
    """One source video, its options and its dubs, in the order in which the languages were requested."""

    id: str
    source: Source
    options: JobOptions
    added: float
    dubs: dict[str, Dub] = {}
    schema: int = SCHEMA_VERSION
    stage: Stage = Stage.QUEUED
    outputs: str = ""  # folder of the outputs; empty: next to the source
    mount: str = ""  # mount point of the outputs' volume when they were requested; empty: the root's, or not known
    captions: bool = True
    unsettled: bool = False  # its waiting dubs wait until the source no longer changes (`WaitReason.SETTLING`)
    asset: Asset | None = None
    uploads: int = 0  # since the user last acted, to limit automatic repeats
    version: int = 0  # raised when the source must be uploaded again on purpose
    forced: float = NEVER  # when the user started this version again, even if paid for before (--force-new)
    projects: dict[str, str] = {}  # useful ones, oldest first: id → id of its asset, empty if it accepts no more languages
    submission: Submission | None = None
    refused: tuple[
        ModerationRefusal, ...
    ] = ()  # by moderation, for earlier contents of the source too; kept when the dubs are removed

    @property
    def name(self) -> str:
        """File name of the source, untrusted text."""
        return self.source.path.rpartition("/")[2]

    @property
    def is_open(self) -> bool:
        """Whether some dub has not ended. It may be waiting for the user."""
        return any(dub.state in OPEN_STATES for dub in self.dubs.values())

    @property
    def can_continue(self) -> bool:
        """Whether some dub continues automatically."""
        return any(dub.state in OPEN_STATES and dub.hold is None for dub in self.dubs.values())

    @property
    def may_be_paid_for(self) -> bool:
        """Whether something was paid for this version of the video, or may have been."""
        return self.submission is not None or any(
            dub.project or (dub.failure is not None and dub.failure.code == "submission_unknown")
            for dub in self.dubs.values()
            if not dub.stale
        )

    @property
    def unsent_languages(self) -> tuple[str, ...]:
        """Waiting languages that are not held and have no paid request in progress."""
        sent = self.submission.languages if self.submission else ()
        waiting = self.languages_in_state(DubState.WAITING)
        return tuple(language for language in waiting if language not in sent and self.dubs[language].hold is None)

    @property
    def held_languages(self) -> tuple[str, ...]:
        """Waiting languages that are not submitted until the user decides."""
        return tuple(language for language in self.languages_in_state(DubState.WAITING) if self.dubs[language].hold is not None)

    def wait_reason(self, language: str, *, paused: bool = False) -> WaitReason | None:
        """What keeps a dub from its next step, other than a slot or the service. `paused` says whether the batch is paused."""
        dub = self.dubs[language]
        if paused and dub.state is DubState.READY:
            return WaitReason.PAUSE
        if dub.state is not DubState.WAITING:
            return None
        if dub.hold is not None:
            return dub.hold.reason
        if self.unsettled and self.asset is None:
            return WaitReason.SETTLING
        return WaitReason.PAUSE if paused else None

    def refusal_for(self, language: str) -> ModerationRefusal | None:
        """The latest refusal by moderation that applies to this language of the present source."""
        return next(
            (each for each in reversed(self.refused) if each.language in ("", language) and each.applies_to(self.source)), None
        )

    def languages_in_state(self, *states: DubState) -> tuple[str, ...]:
        """Languages whose dub is in one of these states."""
        return tuple(language for language, dub in self.dubs.items() if dub.state in states)


class ObservedStatus(StrEnum):
    """State of one language according to the service."""

    RUNNING = "running"
    COMPLETE = "complete"
    ERROR = "error"


class ObservedLanguage(msgspec.Struct, frozen=True):
    """One language of a project according to the service. `video` is empty if the service gives no id. `oddity` says why the
    language counts as running although the service does not report that."""

    language: str
    state: ObservedStatus
    video: str = ""
    code: str = ""
    oddity: str = ""


class ObservedProject(msgspec.Struct, frozen=True):
    """A project according to the service. In state ERROR, `code` concerns the whole; languages listed as complete still
    exist."""

    state: ObservedStatus
    code: str = ""
    languages: tuple[ObservedLanguage, ...] = ()
    oddity: str = ""


class DubCounts(msgspec.Struct, frozen=True):
    """Dubs of a batch by state, for the summary and `status`. `held`: those of `waiting` and `ready` that need the user."""

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
        """Dubs that do not continue automatically."""
        return self.done + self.failed + self.cancelled + self.unknown


def count_dubs(jobs: Iterable[Job], *, paused: bool = False) -> DubCounts:
    """Counts over any iterable of jobs. In a paused batch, every dub that waits or is ready needs the user."""
    totals = dict.fromkeys(DubCounts.__struct_fields__, 0)
    for job in jobs:
        totals["jobs"] += 1
        totals["dubs"] += len(job.dubs)
        for language, dub in job.dubs.items():
            totals[dub.state.value] += 1
            if dub.state in (DubState.WAITING, DubState.READY) and job.wait_reason(language, paused=paused) is not None:
                totals["held"] += 1
    return DubCounts(**totals)
