"""Uploads sources to the service's S3 bucket: multipart, several parts at a time, cancellable. Notices if the file changes, and
computes its digest from the bytes read.

The numbers follow the vendor's script: multipart from 8 MiB, parts of 32 MiB, 6 at a time. s3transfer does the work in
threads; the event loop only reads a counter.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any, BinaryIO, Final

from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.model import Source
from synthdub_tui.sources.digest import DIGEST_RANGE_BYTES, RangeDigests
from synthdub_tui.sources.same_file import same_time
from synthdub_tui.transfer.daemon_executor import DaemonThreadPool, wait_with_checks
from synthdub_tui.transfer.part_file import close_quietly
from synthdub_tui.transfer.s3_client import RetryHandler, S3Config, UploadTarget, make_s3_client, problem_from_error

__all__ = ["UnconfirmedUploadError", "UploadTarget", "Uploader", "part_size"]

MIB: Final = 1024 * 1024
MULTIPART_THRESHOLD_BYTES: Final = 8 * MIB
MIN_PART_BYTES: Final = DIGEST_RANGE_BYTES
"""Bytes of a part: one whole range of a digest, so that each part can be digested apart from the others."""
MAX_PARTS: Final = 10_000
"""S3's limit: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""

READ_CHUNK_BYTES: Final = 64 * 1024
"""Most bytes of a read. botocore asks for 1 MiB, for its checksums and over TLS, and reads on until no bytes come. glibc would
keep up to two blocks of 1 MiB in each arena in which one was freed, and has eight arenas per core."""

ABORT_AFTER_SECONDS: Final = 0.25
"""Seconds that a cancelled transfer has to abort its own multipart upload, before another thread does."""

MAX_UPLOAD_THREADS: Final = 64
"""Uploads at once, including cancelled ones on a stalled line; further ones wait for a thread."""


class UnconfirmedUploadError(ProblemError):
    """The whole source was sent, but no answer confirms that the storage has it: check before sending it again. `digest` is
    the digest of the sent bytes."""

    def __init__(self, trouble: ProblemError, digest: str) -> None:
        super().__init__(trouble.code, trouble.detail)
        self.digest = digest


def part_size(size: int) -> int:
    """Bytes per part for a file of `size` bytes: 32 MiB, or the smallest multiple that needs at most `MAX_PARTS` parts."""
    least = -(-size // MAX_PARTS)
    return max(1, -(-least // MIN_PART_BYTES)) * MIN_PART_BYTES


class Uploader:
    """Uploads sources. A process needs one; `close` it at the end.

    `endpoint_url` is for other S3-compatible storage. `threads`: parts of each file sent at once. `connect_timeout` also limits
    a blocked send. `read_timeout` is longer: when the kernel has the last byte of a part, megabytes may still wait for a slow
    line before an answer can come. `grace_seconds`: how long a cancel waits for the abort, which then continues in a daemon
    thread. `backoff`: first pause between attempts, doubled each time. Times are in seconds.
    """

    def __init__(
        self,
        endpoint_url: str | None = None,
        *,
        threads: int = 6,
        connect_timeout: float = 15.0,
        read_timeout: float = 60.0,
        attempts: int = 6,
        backoff: float = 1.0,
        grace_seconds: float = 2.5,
    ) -> None:
        self._s3_config = S3Config(endpoint_url, threads, connect_timeout, read_timeout, attempts, backoff)
        self._grace = grace_seconds
        self._pool = DaemonThreadPool(MAX_UPLOAD_THREADS, "upload")
        self._running: dict[asyncio.Future[str], _Upload] = {}

    async def upload(self, source: Source, target: UploadTarget, progress: Callable[[int], None]) -> str:
        """Upload `source`, which must not have changed since it was added. Returns the digest of the sent bytes.

        `progress` is called on the event loop with the bytes sent so far, up to ten times a second while that number changes.
        The number may go down when a part is sent again. A cancel aborts the transfer and its multipart upload.

        Raises ProblemError: source_missing, source_unreadable, source_empty, source_changed, credentials_expired,
        upload_region, upload_denied, upload_failed (as UnconfirmedUploadError if everything was sent).
        """
        work = _Upload(source, target, self._s3_config)
        done = asyncio.wrap_future(self._pool.submit(work.run))
        self._running[done] = work
        done.add_done_callback(self._forget)
        try:
            return await wait_with_checks(done, lambda: work.report_progress(progress))
        except BaseException:
            work.cancel()
            await asyncio.wait({done}, timeout=self._grace)
            raise

    async def close(self) -> None:
        """Cancel all uploads in progress, and wait for them at most `grace_seconds` seconds."""
        for work in self._running.values():
            work.cancel()
        if self._running:
            await asyncio.wait(set(self._running), timeout=self._grace)
        self._pool.shutdown(wait=False)

    def _forget(self, done: asyncio.Future[str]) -> None:
        del self._running[done]


class _Upload:
    """One upload, run in a thread; also s3transfer's subscriber for progress."""

    def __init__(self, source: Source, target: UploadTarget, s3_config: S3Config) -> None:
        self._source = source
        self._target = target
        self._s3_config = s3_config
        self._digests = RangeDigests(source.size)
        self._lock = threading.Lock()
        self._stop_event = threading.Event()
        self._source_problem: ProblemError | None = None  # problem of the source, found in a thread of s3transfer
        self._ended_event = threading.Event()
        self._client: Any = None
        self._transfer: Any = None
        self._upload_id = ""  # of the multipart upload, once there is one
        self._completing = False  # the storage has all parts and is asked to join them
        self._sent_bytes = 0
        self._reported = -1

    def report_progress(self, progress: Callable[[int], None]) -> None:
        """Call `progress` with the bytes sent so far, if the number has changed."""
        sent = min(max(self._sent_bytes, 0), self._source.size)
        if sent != self._reported:
            self._reported = sent
            progress(sent)

    def on_progress(self, bytes_transferred: int, **_: Any) -> None:
        """Called by s3transfer in several threads, with a negative number when a part is sent again. Must not raise."""
        with self._lock:
            self._sent_bytes += bytes_transferred

    def cancel(self) -> None:
        """Stop as soon as possible; returns at once."""
        if self._stop_event.is_set():
            return
        self._stop_event.set()
        with self._lock:
            transfer = self._transfer
        if transfer is not None:
            transfer.cancel()
            threading.Thread(target=self._abort_if_stuck, name="upload-abort", daemon=True).start()

    def run(self) -> str:
        """Upload, blocking; returns the digest of the sent bytes. Raises ProblemError, or CancelledError after `cancel`."""
        if self._stop_event.is_set():
            raise CancelledError
        check_source(self._source)
        try:
            self._send()
        except Exception as error:
            if self._stop_event.is_set():
                raise CancelledError from None
            trouble = self._source_problem or (error if isinstance(error, ProblemError) else problem_from_error(error))
            if trouble is None:
                raise
            if self._completing and trouble.code == "upload_failed":
                trouble = UnconfirmedUploadError(trouble, self._digests.result())
            raise trouble from None
        check_source(self._source)
        return self._digests.result()

    def _send(self) -> None:
        from s3transfer.manager import TransferConfig, TransferManager  # noqa: PLC0415

        client = self._client = make_s3_client(self._s3_config, self._target)
        client.meta.events.register("after-call.s3.CreateMultipartUpload", self._note_upload)
        client.meta.events.register("before-call.s3.CompleteMultipartUpload", self._note_completing)
        RetryHandler(self._s3_config, self._stop_event, self._should_give_up).install(client)
        config = TransferConfig(
            multipart_threshold=MULTIPART_THRESHOLD_BYTES,
            multipart_chunksize=part_size(self._source.size),
            max_request_concurrency=self._s3_config.connections,
            max_submission_concurrency=1,
        )
        manager = TransferManager(client, config, self._files(), DaemonThreadPool)
        try:
            self._start(manager).result()
        except Exception:
            if not self._is_stored(client):
                raise
        finally:
            self._ended_event.set()
            manager.shutdown()
            client.close()

    def _start(self, manager: Any) -> Any:
        """Start the transfer, under the lock so that `cancel` cannot miss it."""
        with self._lock:
            if self._stop_event.is_set():
                raise CancelledError
            self._transfer = manager.upload(
                self._source.path,
                self._target.bucket,
                self._target.key,
                extra_args={"ContentType": self._source.content_type},
                subscribers=[self],
            )
            return self._transfer

    def _note_upload(self, parsed: Any, **_: Any) -> None:
        self._upload_id = str(parsed.get("UploadId", ""))

    def _note_completing(self, **_: Any) -> None:
        self._completing = True

    def _is_stored(self, client: Any) -> bool:
        """Whether the storage has joined the parts although its answer was lost. A repeated request may get NoSuchUpload then.

        Looking by size is enough, because the key is for this source alone. Some credentials do not allow it: then False.
        """
        if not self._completing or self._stop_event.is_set():
            return False
        try:
            found = client.head_object(Bucket=self._target.bucket, Key=self._target.key)
        except (Exception, CancelledError) as error:
            if problem_from_error(error) is None and not isinstance(error, ProblemError | CancelledError):
                raise
            return False
        return int(found.get("ContentLength", -1)) == self._source.size

    def _abort_if_stuck(self) -> None:
        """Abort the multipart upload if s3transfer has not done so within `ABORT_AFTER_SECONDS`. It waits for all requests in
        progress, which on a stalled line is too late: program and credentials may be gone by then. A second abort does no
        harm."""
        if self._ended_event.wait(ABORT_AFTER_SECONDS) or not self._upload_id:
            return
        target = self._target
        with contextlib.suppress(Exception):  # the upload was cancelled, so no caller waits for an error
            self._client.abort_multipart_upload(Bucket=target.bucket, Key=target.key, UploadId=self._upload_id)

    def _files(self) -> Any:
        """s3transfer's file functions, with `_CheckedSource` for opening; s3transfer opens the source again for each part."""
        from s3transfer.utils import OSUtils  # noqa: PLC0415

        files = OSUtils()
        files.open = lambda _path, _mode: _CheckedSource(self._source, self._digests, self._record_source_problem)
        files.get_file_size = lambda _path: self._source.size
        return files

    def _record_source_problem(self, fault: ProblemError) -> None:
        if self._source_problem is None:
            self._source_problem = fault

    def _should_give_up(self) -> bool:
        if self._stop_event.is_set():
            raise CancelledError
        if self._source_problem is not None:
            raise self._source_problem
        return bool(self._transfer is not None and self._transfer.done())


class _CheckedSource:
    """The source opened for reading. Digests the bytes it reads; reports each problem to `on_problem` and raises it as
    ProblemError.

    A source that shrinks must not end a request body early: the storage would wait for the rest until a timeout.
    """

    def __init__(self, source: Source, digests: RangeDigests, on_problem: Callable[[ProblemError], None]) -> None:
        self._digests = digests
        self._hasher = digests.hasher_at(0)
        self._on_problem = on_problem
        try:
            self._file = open_source(source)
        except ProblemError as trouble:
            on_problem(trouble)
            raise

    def read(self, amount: int) -> bytes:
        """Read `amount` bytes, at most `READ_CHUNK_BYTES`. s3transfer never asks for more than the file's size at the start.

        Raises ProblemError: source_unreadable, source_changed.
        """
        amount = min(amount, READ_CHUNK_BYTES)
        try:
            data = self._file.read(amount)
        except OSError as error:
            raise self._report(ProblemError("source_unreadable", error.strerror or "")) from None
        if len(data) < amount:
            raise self._report(ProblemError("source_changed", "it became shorter"))
        self._hasher.update(data)
        return data

    def seek(self, where: int, whence: int = os.SEEK_SET) -> None:
        """As of a file."""
        self._hasher = self._digests.hasher_at(self._file.seek(where, whence))

    def tell(self) -> int:
        """As of a file."""
        return self._file.tell()

    def close(self) -> None:
        """As of a file, but raises nothing: if the volume is gone, `read` reports that."""
        _close_quietly(self._file)

    def _report(self, trouble: ProblemError) -> ProblemError:
        self._on_problem(trouble)
        return trouble


def check_source(source: Source) -> None:
    """Check that the source can be read and is unchanged. Raises ProblemError as `open_source` does."""
    _close_quietly(open_source(source))


def _close_quietly(file: BinaryIO) -> None:
    with contextlib.suppress(OSError):
        file.close()


def open_source(source: Source) -> BinaryIO:
    """Open the source, and check on the opened file that it is unchanged.

    Raises ProblemError: source_missing, source_unreadable, source_changed, source_empty.
    """
    try:
        # O_NONBLOCK: if a pipe has replaced the source, opening must not block the thread
        fd = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        gone = error.errno in {errno.ENOENT, errno.ENOTDIR}
        raise ProblemError("source_missing" if gone else "source_unreadable", error.strerror or "") from None
    try:
        _check_unchanged(source, os.fstat(fd))
    except OSError as error:
        close_quietly(fd)
        raise ProblemError("source_unreadable", error.strerror or "") from None
    except BaseException:
        close_quietly(fd)
        raise
    return os.fdopen(fd, "rb")


def _check_unchanged(source: Source, now: os.stat_result) -> None:
    if not stat.S_ISREG(now.st_mode):
        raise ProblemError("source_unreadable", "not a regular file")
    if now.st_size != source.size:
        raise ProblemError("source_changed", f"{source.size} bytes became {now.st_size}")
    if not same_time(source.mtime_ns, now.st_mtime_ns):
        raise ProblemError("source_changed", "its modification time is another")
    if not now.st_size:
        raise ProblemError("source_empty")
