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
from synthdub_tui.jobs.model import NEVER, Options
from synthdub_tui.jobs.moderation import MODERATION
from synthdub_tui.settings.model import Settings

SHARDS: Final = 256

_NOTHING: Final[Mapping[str, float]] = MappingProxyType({})


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


class _Unclear(msgspec.Struct, frozen=True, tag_field="is", tag="unclear"):
    """The outcome of the request is unknown, and no answer will come any more."""

    id: str


class _Refused(msgspec.Struct, frozen=True, tag_field="is", tag="refused"):
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


class Verdict(NamedTuple):
    """A refusal of a content by moderation."""

    whole: bool  # in every language
    words: str  # message of the service, untrusted


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


class _Ours(msgspec.Struct, frozen=True, tag_field="is", tag="ours"):
    """Content that synthdub downloaded, filed under its own size. It is never an input."""

    size: int
    fingerprint: str


_Line = PaidRequest | _Accepted | _Unclear | _Refused | _Failed | _Moderated | SavedOutput | _Ours

_decoder: msgspec.json.Decoder[_Line] = msgspec.json.Decoder(_Line)


@dataclass(frozen=True)
class Content:
    """What a request pays for: content of a source under certain options. Size in bytes."""

    size: int
    digest: str
    options: str

    @classmethod
    def of(cls, size: int, digest: str, options: Options) -> Content:
        """Leaves out the title: it follows the file's name, and a renamed video is the same video."""
        told = (options.source_language, options.video_duration, options.visibility, "lipsync" if options.lipsync else "")
        return cls(size, digest, " ".join(filter(None, told)))


@dataclass
class Receipt:
    """All that is known of one paid request."""

    request: PaidRequest
    project: str = ""
    unclear: bool = False
    refused: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)  # language → code
    outputs: dict[str, SavedOutput] = field(default_factory=dict)  # by language
    verdicts: dict[str, str] = field(default_factory=dict)  # by moderation: language, or empty for the whole → message

    def take(self, line: _Accepted | _Unclear | _Refused | _Failed | _Moderated | SavedOutput) -> None:
        """Apply a further line about the request."""
        match line:
            case _Accepted():
                self.project = line.project
            case _Unclear():
                self.unclear = True
            case _Refused():
                self.refused.update(line.languages or self.request.languages)
            case _Failed():
                self.failed[line.language] = line.code
                if line.code == MODERATION:
                    self.verdicts.setdefault(line.language, "")
            case _Moderated():
                self.verdicts[line.language] = line.words
            case SavedOutput():
                self.outputs[line.language] = line

    def sent_since(self, since: float, now: float) -> bool:
        """Whether it was sent after `since`. One from the future, of a clock that was put back, counts only for `NEVER`."""
        return since < self.request.at and (self.request.at <= now or since == NEVER)

    def was_for(self, language: str) -> bool:
        """Whether the request was, or may have been, accepted for the language."""
        return language in self.request.languages and language not in self.refused

    def stands_for(self, language: str) -> bool:
        """Whether the language was, or may have been, paid for and did not fail."""
        return self.was_for(language) and language not in self.failed


def _verdict(receipts: Sequence[Receipt], language: str) -> Verdict | None:
    """The refusal of the whole, else of the language."""
    for about in ("", language):
        for receipt in receipts:
            if about in receipt.verdicts:
                return Verdict(whole=not about, words=receipt.verdicts[about])
    return None


class _Shard:
    """One file of receipts, as far as it was read."""

    def __init__(self) -> None:
        self.offset = 0
        self.receipts: dict[str, Receipt] = {}
        self.by_size: dict[int, list[Receipt]] = {}
        self.ours: dict[int, set[str]] = {}

    def take(self, line: _Line) -> None:
        """Apply a line. Lines about a request that is not known here are skipped."""
        if isinstance(line, PaidRequest):
            receipt = self.receipts[line.id] = Receipt(line, line.project)
            self.by_size.setdefault(line.size, []).append(receipt)
        elif isinstance(line, _Ours):
            self.ours.setdefault(line.size, set()).add(line.fingerprint)
        elif known := self.receipts.get(line.id):
            known.take(line)


class Receipts:
    """The receipts of one account. Blocking and thread-safe; several processes may append at the same time.

    All methods raise OSError if the folder cannot be read or written.
    """

    def __init__(self, data_dir: str, account: str) -> None:
        self.account = account
        self._folder = os.path.join(data_dir, "receipts")
        self._shards: dict[int, _Shard] = {}
        self._lock = threading.Lock()

    def open(self, fallback: str) -> bool:
        """Create the folder. If that is impossible, as in a container with a random user, receipts go to the folder
        `fallback`, and last as long as it does. Returns whether the fallback is used."""
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            usable = os.access(self._folder, os.W_OK | os.X_OK)
        except OSError:
            usable = False
        if not usable:
            self._folder = os.path.join(fallback, "receipts")
        return not usable

    def any_of_size(self, size: int) -> bool:
        """Whether a source of this size was ever paid for. Only then is its content worth reading before it is uploaded."""
        with self._lock:
            return any(receipt.request.account == self.account for receipt in self._fresh(size).by_size.get(size, ()))

    def find(self, content: Content) -> list[Receipt]:
        """Receipts for this content and these options, the newest first."""
        with self._lock:
            return self._found(content)

    def verdict(self, content: Content, language: str) -> Verdict | None:
        """The refusal of this content, under any options; None if moderation refused neither the whole nor the language."""
        with self._lock:
            return _verdict(self._of_content(content), language)

    def is_ours(self, size: int, fingerprint: Callable[[], str]) -> bool:
        """Whether synthdub downloaded this file. `fingerprint` is called only if it downloaded one of this size."""
        with self._lock:
            known = self._fresh(size).ours.get(size)
        return known is not None and fingerprint() in known

    def intend(
        self,
        content: Content,
        languages: Sequence[str],
        *,
        at: float,
        project: str = "",
        state_dir: str = "",
        file: str = "",
        unless_paid: Mapping[str, float] = _NOTHING,
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
        with self._lock, self._appending(content.size) as append:
            receipts = self._found(content)
            if any(_paid_since(receipts, language, since, at) for language, since in unless_paid.items()):
                return ""
            if any(_verdict(self._of_content(content), language) for language in unless_moderated):
                return ""
            append(request)
        return request.id

    def accepted(self, size: int, request: str, project: str) -> None:
        """Record that the request was accepted, and the project that it created or added to."""
        self._append(size, _Accepted(request, project))

    def unclear(self, size: int, request: str) -> None:
        """Record that the answer to the request was lost."""
        self._append(size, _Unclear(request))

    def refused(self, size: int, request: str, languages: Iterable[str] = ()) -> None:
        """Record that the request was not accepted, or not for these languages: nothing was billed."""
        self._append(size, _Refused(request, tuple(languages)))

    def failed(self, size: int, project: str, language: str, code: str) -> None:
        """Record that the service ended the language of a project without a video."""
        for receipt in self._standing(size, project, language):
            self._append(size, _Failed(receipt.request.id, language, code))

    def moderated(self, size: int, request: str, about: str, words: str) -> None:
        """Record that moderation refused the content of a request: in the language `about`, or as a whole if that is empty."""
        self._append(size, _Moderated(request, about, words))

    def moderated_in(self, size: int, project: str, words: str) -> None:
        """Record that moderation refused a project, and its content as a whole."""
        with self._lock:
            receipts = [each for each in self._fresh(size).by_size.get(size, ()) if project and each.project == project]
        for receipt in receipts:
            if "" not in receipt.verdicts:
                self.moderated(size, receipt.request.id, "", words)

    def saved(self, content: Content, project: str, output: SavedOutput) -> None:
        """Record a finished file on disk; `output.id` is filled in here. The file counts as ours even without a receipt."""
        self._append(output.size, _Ours(output.size, output.fingerprint))
        for receipt in self._standing(content.size, project, output.language):
            self._append(content.size, msgspec.structs.replace(output, id=receipt.request.id))

    # -- files ---------------------------------------------------------------------------------------------------------

    def _standing(self, size: int, project: str, language: str) -> list[Receipt]:
        with self._lock:
            receipts = self._fresh(size).by_size.get(size, [])
            return [each for each in receipts if project and each.project == project and each.stands_for(language)]

    def _found(self, content: Content) -> list[Receipt]:
        return [each for each in self._of_content(content) if each.request.options == content.options]

    def _of_content(self, content: Content) -> list[Receipt]:
        """Receipts for this content under any options, the newest first."""
        if not content.digest:
            return []  # without a digest nothing is known about the content
        receipts = self._fresh(content.size).by_size.get(content.size, ())
        wanted = (self.account, content.digest)
        return [each for each in reversed(receipts) if (each.request.account, each.request.digest) == wanted]

    def _path(self, size: int) -> str:
        return os.path.join(self._folder, f"{size % SHARDS:02x}.jsonl")

    def _fresh(self, size: int) -> _Shard:
        """The shard with all that any process has appended up to now."""
        number = size % SHARDS
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
                    for line in _lines(whole):
                        shard.take(line)
        except FileNotFoundError:
            shard.offset = 0
        return shard

    def _append(self, size: int, line: _Line) -> None:
        with self._lock, self._appending(size) as append:
            append(line)

    @contextlib.contextmanager
    def _appending(self, size: int) -> Iterator[Callable[[_Line], None]]:
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


def _paid_since(receipts: Iterable[Receipt], language: str, since: float, now: float) -> bool:
    return any(receipt.sent_since(since, now) and receipt.stands_for(language) for receipt in receipts)


def receipts_of(settings: Settings) -> Receipts:
    """The receipts of the account whose key is set."""
    return Receipts(settings.data_dir or settings.state_dir, account_of(settings.api_url, settings.api_key))


def account_of(api_url: str, key: str) -> str:
    """An id that tells accounts apart without revealing the key."""
    return hashlib.sha256(f"{api_url}\0{key}".encode()).hexdigest()[:16]


def _lines(data: bytes) -> Iterator[_Line]:
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
