"""Receipts of paid requests, outside every state directory, so that losing one does not mean paying again.

Each paid request has a line of JSON, which is appended and synced with the job's own intent, and further lines for its outcome.
Lines are in files by the size of the source (`receipts/<size mod 256, in hex>.jsonl`). So a look-up for one video reads a small
file, and a video of a size without receipts is not read at all. No line is rewritten; one that a crash cut off is skipped.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from synthdub_tui import files
from synthdub_tui.jobs.model import NEVER, JobOptions
from synthdub_tui.jobs.moderation import MODERATION
from synthdub_tui.settings.model import Settings

SHARD_COUNT: Final = 256

_NO_LANGUAGES: Final[Mapping[str, float]] = MappingProxyType({})


class PaidRequest(msgspec.Struct, frozen=True, tag_field="is", tag="request", omit_defaults=True, kw_only=True):
    """A paid request that is about to be sent. `project` is set for PUT, which adds to one; for POST, the answer gives it."""

    id: str
    at: float
    account: str
    digest: str
    size: int
    options: str
    languages: tuple[str, ...]
    project: str = ""
    state_dir: str = ""
    file: str = ""


class _Accepted(msgspec.Struct, frozen=True, tag_field="is", tag="accepted"):
    id: str
    project: str


class _UnknownOutcome(msgspec.Struct, frozen=True, tag_field="is", tag="unclear"):
    """The outcome of the request is unknown, and no answer will come any more."""

    id: str


class _Rejected(msgspec.Struct, frozen=True, tag_field="is", tag="refused"):
    """Nothing was billed for these languages, or for the whole request if there are none."""

    id: str
    languages: tuple[str, ...] = ()


class _Failed(msgspec.Struct, frozen=True, tag_field="is", tag="failed"):
    """The service accepted the language and ended it without a video."""

    id: str
    language: str
    code: str


class _Moderated(msgspec.Struct, frozen=True, tag_field="is", tag="moderated", omit_defaults=True):
    """Moderation refused the content in that language, or as a whole if that is empty. Other lines say if it was billed."""

    id: str
    language: str = ""
    words: str = ""


class ModerationVerdict(NamedTuple):
    """A refusal of a content by moderation."""

    is_whole_video: bool  # in every language
    message: str  # message of the service, untrusted


class SavedOutput(msgspec.Struct, frozen=True, tag_field="is", tag="output", kw_only=True):
    """A finished file from a request: where it was saved, and how to recognise it."""

    id: str
    language: str
    path: str
    size: int
    mtime_ns: int
    fingerprint: str
    seconds: float = 0.0
    captions: tuple[str, ...] = ()
    captions_ns: tuple[int, ...] = ()


class _OwnOutput(msgspec.Struct, frozen=True, tag_field="is", tag="ours"):
    """Content that synthdub downloaded, filed under its own size. It is never an input."""

    size: int
    fingerprint: str


_Line = PaidRequest | _Accepted | _UnknownOutcome | _Rejected | _Failed | _Moderated | SavedOutput | _OwnOutput

_decoder: msgspec.json.Decoder[_Line] = msgspec.json.Decoder(_Line)


@dataclass(frozen=True)
class PaidContent:
    """What a request pays for: content of a source under certain options. Size in bytes."""

    size: int
    digest: str
    options: str

    @classmethod
    def from_options(cls, size: int, digest: str, options: JobOptions) -> PaidContent:
        """Leaves out the title: it follows the file's name, and a renamed video is the same video."""
        parts = (options.source_language, options.video_duration, options.visibility, "lipsync" if options.lipsync else "")
        return cls(size, digest, " ".join(filter(None, parts)))


@dataclass
class Receipt:
    """All that is known of one paid request."""

    request: PaidRequest
    project: str = ""
    has_unknown_outcome: bool = False
    rejected_languages: set[str] = field(default_factory=set)
    failure_codes: dict[str, str] = field(default_factory=dict)  # language → code
    outputs: dict[str, SavedOutput] = field(default_factory=dict)  # by language
    moderation_messages: dict[str, str] = field(
        default_factory=dict
    )  # by moderation: language, or empty for the whole → message

    def apply(self, line: _Accepted | _UnknownOutcome | _Rejected | _Failed | _Moderated | SavedOutput) -> None:
        """Apply a further line about the request."""
        match line:
            case _Accepted():
                self.project = line.project
            case _UnknownOutcome():
                self.has_unknown_outcome = True
            case _Rejected():
                self.rejected_languages.update(line.languages or self.request.languages)
            case _Failed():
                self.failure_codes[line.language] = line.code
                if line.code == MODERATION:
                    self.moderation_messages.setdefault(line.language, "")
            case _Moderated():
                self.moderation_messages[line.language] = line.words
            case SavedOutput():
                self.outputs[line.language] = line

    def sent_since(self, since: float, now: float) -> bool:
        """Whether it was sent after `since`. One from the future, of a clock that was put back, counts only for `NEVER`."""
        return since < self.request.at and (self.request.at <= now or since == NEVER)

    def may_be_accepted_for(self, language: str) -> bool:
        """Whether the request was, or may have been, accepted for the language."""
        return language in self.request.languages and language not in self.rejected_languages

    def may_be_paid_for(self, language: str) -> bool:
        """Whether the language was, or may have been, paid for and did not fail."""
        return self.may_be_accepted_for(language) and language not in self.failure_codes


def _find_verdict(receipts: Sequence[Receipt], language: str) -> ModerationVerdict | None:
    """The refusal of the whole, else of the language."""
    for about in ("", language):
        for receipt in receipts:
            if about in receipt.moderation_messages:
                return ModerationVerdict(is_whole_video=not about, message=receipt.moderation_messages[about])
    return None


class _Shard:
    """One file of receipts, as far as it was read."""

    def __init__(self) -> None:
        self.offset = 0
        self.receipts: dict[str, Receipt] = {}
        self.by_size: dict[int, list[Receipt]] = {}
        self.own_fingerprints: dict[int, set[str]] = {}

    def apply(self, line: _Line) -> None:
        """Apply a line. Lines about a request that is not known here are skipped."""
        if isinstance(line, PaidRequest):
            receipt = self.receipts[line.id] = Receipt(line, line.project)
            self.by_size.setdefault(line.size, []).append(receipt)
        elif isinstance(line, _OwnOutput):
            self.own_fingerprints.setdefault(line.size, set()).add(line.fingerprint)
        elif known := self.receipts.get(line.id):
            known.apply(line)


class Receipts:
    """The receipts of one account. Blocking and thread-safe; several processes may append at the same time.

    All methods raise OSError if the folder cannot be read or written.
    """

    def __init__(self, data_dir: str, account: str) -> None:
        self.account = account
        self._folder = os.path.join(data_dir, "receipts")
        self._shards: dict[int, _Shard] = {}
        self._lock = threading.Lock()

    def open(self, fallback_folder: str) -> bool:
        """Create the folder. If that is impossible, as in a container with a random user, receipts go to the folder
        `fallback_folder`, and last as long as it does. Returns whether the fallback is used."""
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            usable = os.access(self._folder, os.W_OK | os.X_OK)
        except OSError:
            usable = False
        if not usable:
            self._folder = os.path.join(fallback_folder, "receipts")
        return not usable

    def has_size(self, size: int) -> bool:
        """Whether a source of this size was ever paid for. Only then is its content worth reading before it is uploaded."""
        with self._lock:
            return any(receipt.request.account == self.account for receipt in self._refresh_shard(size).by_size.get(size, ()))

    def find(self, content: PaidContent) -> list[Receipt]:
        """Receipts for this content and these options, the newest first."""
        with self._lock:
            return self._find_with_options(content)

    def find_verdict(self, content: PaidContent, language: str) -> ModerationVerdict | None:
        """The refusal of this content, under any options; None if moderation refused neither the whole nor the language."""
        with self._lock:
            return _find_verdict(self._find_with_any_options(content), language)

    def is_own_output(self, size: int, fingerprint: Callable[[], str]) -> bool:
        """Whether synthdub downloaded this file. `fingerprint` is called only if it downloaded one of this size."""
        with self._lock:
            known = self._refresh_shard(size).own_fingerprints.get(size)
        return known is not None and fingerprint() in known

    def record_intent(
        self,
        content: PaidContent,
        languages: Sequence[str],
        *,
        at: float,
        project: str = "",
        state_dir: str = "",
        file: str = "",
        unless_paid: Mapping[str, float] = _NO_LANGUAGES,
        unless_moderated: Iterable[str] = (),
    ) -> str:
        """Record a paid request, durably, before it is sent. Returns its id, or empty if nothing was recorded.

        That is so if another process paid for a language of `unless_paid` after the time given with it, or if moderation
        refused one of `unless_moderated`.
        """
        request = PaidRequest(
            id=uuid.uuid4().hex[:16],
            at=at,
            account=self.account,
            digest=content.digest,
            size=content.size,
            options=content.options,
            languages=tuple(languages),
            project=project,
            state_dir=state_dir,
            file=file,
        )
        with self._lock, self._lock_for_append(content.size) as append:
            receipts = self._find_with_options(content)
            if any(_is_paid_since(receipts, language, since, at) for language, since in unless_paid.items()):
                return ""
            if any(_find_verdict(self._find_with_any_options(content), language) for language in unless_moderated):
                return ""
            append(request)
        return request.id

    def record_accepted(self, size: int, request: str, project: str) -> None:
        """Record that the request was accepted, and the project that it created or added to."""
        self._append(size, _Accepted(request, project))

    def record_unknown_outcome(self, size: int, request: str) -> None:
        """Record that the answer to the request was lost."""
        self._append(size, _UnknownOutcome(request))

    def record_rejected(self, size: int, request: str, languages: Iterable[str] = ()) -> None:
        """Record that the request was not accepted, or not for these languages: nothing was billed."""
        self._append(size, _Rejected(request, tuple(languages)))

    def record_failed(self, size: int, project: str, language: str, code: str) -> None:
        """Record that the service ended the language of a project without a video."""
        for receipt in self._paid_receipts(size, project, language):
            self._append(size, _Failed(receipt.request.id, language, code))

    def record_moderated(self, size: int, request: str, language: str, message: str) -> None:
        """Record that moderation refused the content of a request: in the language `language`, or as a whole if that is
        empty."""
        self._append(size, _Moderated(request, language, message))

    def record_project_moderated(self, size: int, project: str, words: str) -> None:
        """Record that moderation refused a project, and its content as a whole."""
        with self._lock:
            receipts = [each for each in self._refresh_shard(size).by_size.get(size, ()) if project and each.project == project]
        for receipt in receipts:
            if "" not in receipt.moderation_messages:
                self.record_moderated(size, receipt.request.id, "", words)

    def record_saved(self, content: PaidContent, project: str, output: SavedOutput) -> None:
        """Record a finished file on disk; `output.id` is filled in here. The file counts as ours even without a receipt."""
        self._append(output.size, _OwnOutput(output.size, output.fingerprint))
        for receipt in self._paid_receipts(content.size, project, output.language):
            self._append(content.size, msgspec.structs.replace(output, id=receipt.request.id))

    # -- files ---------------------------------------------------------------------------------------------------------

    def _paid_receipts(self, size: int, project: str, language: str) -> list[Receipt]:
        with self._lock:
            receipts = self._refresh_shard(size).by_size.get(size, [])
            return [each for each in receipts if project and each.project == project and each.may_be_paid_for(language)]

    def _find_with_options(self, content: PaidContent) -> list[Receipt]:
        return [each for each in self._find_with_any_options(content) if each.request.options == content.options]

    def _find_with_any_options(self, content: PaidContent) -> list[Receipt]:
        """Receipts for this content under any options, the newest first."""
        if not content.digest:
            return []  # without a digest nothing is known about the content
        receipts = self._refresh_shard(content.size).by_size.get(content.size, ())
        wanted = (self.account, content.digest)
        return [each for each in reversed(receipts) if (each.request.account, each.request.digest) == wanted]

    def _path(self, size: int) -> str:
        return os.path.join(self._folder, f"{size % SHARD_COUNT:02x}.jsonl")

    def _refresh_shard(self, size: int) -> _Shard:
        """The shard with all that any process has appended up to now."""
        number = size % SHARD_COUNT
        shard = self._shards.setdefault(number, _Shard())
        try:
            with open(self._path(size), "rb", buffering=0) as file:
                end = os.fstat(file.fileno()).st_size
                if end < shard.offset:  # an older copy was put back: later lines that were read stay true
                    shard.offset = 0
                if end > shard.offset:
                    file.seek(shard.offset)
                    data = file.readall()
                    whole = data[: data.rfind(b"\n") + 1]
                    shard.offset += len(whole)
                    for line in _decode_lines(whole):
                        shard.apply(line)
        except FileNotFoundError:
            shard.offset = 0
        return shard

    def _append(self, size: int, line: _Line) -> None:
        with self._lock, self._lock_for_append(size) as append:
            append(line)

    @contextlib.contextmanager
    def _lock_for_append(self, size: int) -> Iterator[Callable[[_Line], None]]:
        """Keep other processes from appending to the shard. Appended lines are durable when the context ends."""
        path = self._path(size)
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(path, flags, 0o600)
        try:
            _lock_if_possible(handle)
            new = not os.fstat(handle).st_size
            yield lambda line: _write_line(handle, line)
            os.fsync(handle)
            if new:
                files.sync_folder(self._folder)
        finally:
            os.close(handle)


def _is_paid_since(receipts: Iterable[Receipt], language: str, since: float, now: float) -> bool:
    return any(receipt.sent_since(since, now) and receipt.may_be_paid_for(language) for receipt in receipts)


def receipts_for(settings: Settings) -> Receipts:
    """The receipts of the account whose key is set."""
    return Receipts(settings.data_dir or settings.state_dir, account_id(settings.api_url, settings.api_key))


def account_id(api_url: str, key: str) -> str:
    """An id that tells accounts apart without revealing the key."""
    return hashlib.sha256(f"{api_url}\0{key}".encode()).hexdigest()[:16]


def _decode_lines(data: bytes) -> Iterator[_Line]:
    for text in data.splitlines():
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
            yield _decoder.decode(text)


def _write_line(handle: int, line: _Line) -> None:
    """Append a line. A line that a crash cut off is ended first, so that it damages no other."""
    end = os.fstat(handle).st_size
    torn = end > 0 and os.pread(handle, 1, end - 1) != b"\n"
    data = memoryview((b"\n" if torn else b"") + msgspec.json.encode(line) + b"\n")
    while data:
        data = data[os.write(handle, data) :]


def _lock_if_possible(handle: int) -> None:
    """Lock the file if possible. Some network file systems have no locks: appending such short lines is still atomic enough."""
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)
