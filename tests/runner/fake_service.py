"""The service as a runner meets it, simulated in virtual time: API, storage and files, with books of its own."""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.model import Source
from synthdub_tui.sources.digest import compute_digest
from synthdub_tui.sources.same_file import FileStamp, same_version, source_stamp
from synthdub_tui.synthesia.rate_gate import Endpoint
from synthdub_tui.transfer.download import (
    DownloadedFile,
    IsComplete,
    OnStart,
    Progress,
    UrlExpiredError,
    completeness_unknown,
    ignore_progress,
    ignore_start,
)
from synthdub_tui.transfer.upload import UploadTarget
from tests.virtual_time import VirtualClock

API_KEY: Final = "key-of-the-simulation"
API_URL: Final = "https://api.test"
NETWORK_DELAY_SECONDS: Final = 0.05
"""Seconds that a request takes to arrive, and an answer to come back."""

READ_FAULTS: Final = ("refused", "lost before", "hangs", "lost after", "429", "500", "web page")
GATEWAYS: Final[dict[str, tuple[int, Any]]] = {
    "403 page": (403, "<html>Forbidden</html>"),
    "404 page": (404, "<html>Not Found</html>"),
    "502 page": (502, "<html>Bad Gateway</html>"),
    "upstream timeout": (200, {"status": "error", "message": "upstream timeout"}),
    "504 upstream": (504, {"status": "error", "message": "upstream timeout"}),
    "408": (408, {"message": "Request Timeout"}),
    "425": (425, ""),
    "303": (303, ""),
    "400 other words": (400, {"message": "Bad Request"}),
}
"""What stands in between answers, whether or not the service got the request."""

PAID: Final = (Endpoint.CREATE_DUBBING, Endpoint.ADD_LOCALES)
NOTHING_NEW: Final = "204"
"""The same, to a PUT alone: the API says by it that the project has all of the languages."""
UPLOAD_FAULTS: Final = ("upload_failed", "upload_denied", "credentials_expired")
FILE_FAULTS: Final = ("cut", "expired", "broken")

_ROUTES: Final = {
    ("POST", "assets"): Endpoint.CREATE_ASSET,
    ("GET", "assets"): Endpoint.GET_ASSET,
    ("POST", "dubbing"): Endpoint.CREATE_DUBBING,
    ("GET", "dubbing"): Endpoint.GET_DUBBING,
    ("PUT", "dubbing"): Endpoint.ADD_LOCALES,
}


@dataclass
class FakeAsset:
    title: str
    status: str = "awaiting_upload"
    content: bytes = b""  # as it was uploaded


@dataclass
class LanguageAttempt:
    """One try of a language in a project."""

    video: str
    status: str = "in_progress"
    code: str = ""
    has_url: bool = True  # whether a complete one has its address yet
    listed: bool = True  # whether the project shows it yet
    mended: bool = False  # it ended in failure, and is complete all the same


@dataclass
class FakeProject:
    asset: str
    title: str
    status: str = "in_progress"
    code: str = ""
    languages: dict[str, LanguageAttempt] = field(default_factory=dict)
    earlier: list[tuple[str, LanguageAttempt]] = field(default_factory=list)  # tries that failed, where it goes on listing them
    lists_earlier: bool = False
    lists_in_error: bool = False  # its languages, although it ended in failure
    mended: bool = False

    @property
    def unfinished_languages(self) -> list[LanguageAttempt]:
        """What has not ended."""
        running = self.status == "in_progress"
        return [each for each in self.languages.values() if running and each.status == "in_progress"]


@dataclass(eq=False)
class SentPaidRequest:
    """One that left the client. It may have been taken for all its languages; once it arrived, it was for `new_languages`."""

    title: str
    languages: tuple[str, ...]
    asset: str
    content: bytes  # as it was uploaded
    lipsync: bool
    has_arrived: bool = False
    new_languages: tuple[str, ...] = ()
    project: FakeProject | None = None
    refused_as: str = ""  # what was said of it, where it was refused
    attempts: dict[str, LanguageAttempt] = field(default_factory=dict)  # what became of `new_languages`

    @property
    def possibly_paid_languages(self) -> tuple[str, ...]:
        """What was paid for by it, or may have been."""
        return self.new_languages if self.has_arrived else self.languages

    def may_have_paid_for(self, language: str) -> bool:
        """Whether the language was paid for by it, or may have been, and has not ended in failure."""
        failed = self.project is not None and self.project.status == "error"
        ended = language in self.attempts and self.attempts[language].status == "error"
        return language in self.possibly_paid_languages and not failed and not ended


Fact = tuple[bytes, str, str]
"""Moderation refused a content in a language, or as a whole (empty), in this try."""


class FakeService:
    """`check_paid` is called with each paid request that leaves the client, `on_unpaid` where it certainly was not taken, and
    `on_facts` with what an answer says of moderation."""

    def __init__(
        self,
        clock: VirtualClock,
        check_paid: Callable[[SentPaidRequest], None],
        on_unpaid: Callable[[SentPaidRequest], None] = lambda _: None,
        on_facts: Callable[[list[Fact]], None] = lambda _: None,
    ) -> None:
        self.assets: dict[str, FakeAsset] = {}
        self.projects: dict[str, FakeProject] = {}
        self.deleted_projects: dict[str, FakeProject] = {}  # deleted
        self.hidden: set[str] = set()  # projects that are not known for a while
        self.lists_late = False  # whether projects show new languages only later
        self.paid_requests: list[SentPaidRequest] = []
        self.call_times: dict[Endpoint, list[float]] = {endpoint: [] for endpoint in Endpoint}
        self.faults: dict[str, deque[str]] = {}  # by endpoint, "upload" or "file": what befalls the next calls
        self.next_refusals: deque[str] = deque()  # of the next paid requests, by what is said
        self.down_until = 0.0
        self.accepts_key = True
        self.has_credits = True  # whether there are any left
        self.violations: list[str] = []  # breaches that happened within a call, where an error would only look like a fault
        self._clock = clock
        self._check_paid = check_paid
        self._on_unpaid = on_unpaid
        self._on_facts = on_facts
        self._id_counts: Counter[str] = Counter()

    # -- for the test --------------------------------------------------------------------------------------------------

    def add_faults(self, where: str, fault: str, count: int) -> None:
        """Let it befall the next calls."""
        self.faults.setdefault(where, deque()).extend([fault] * count)

    def clear_faults(self) -> None:
        """Nothing goes wrong any more."""
        self.faults.clear()
        self.next_refusals.clear()
        self.down_until, self.accepts_key, self.has_credits = 0.0, True, True
        self.catch_up()

    def catch_up(self) -> None:
        """All that was made is shown."""
        self.hidden.clear()
        self.lists_late = False
        for project in self.projects.values():
            for language in project.languages.values():
                language.listed = True

    def complete_all(self) -> None:
        """All that is under way ends well."""
        for project in self.projects.values():
            for language in project.unfinished_languages:
                language.status, language.has_url = "complete", True
            for language in project.languages.values():
                language.has_url = True
            if project.status == "in_progress":
                project.status = "complete"

    def count_possible_payments(self) -> Counter[tuple[str, str]]:
        """How often each language of each title was paid for, or may have been."""
        return Counter(
            (request.title, language) for request in self.paid_requests for language in request.possibly_paid_languages
        )

    def video_content(self, project: str, language: str) -> bytes:
        """The video of a language."""
        known = self.projects.get(project) or self.deleted_projects[project]
        return f"{project} {language} {known.languages[language].video} ".encode() * 200

    # -- HTTP ----------------------------------------------------------------------------------------------------------

    async def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The API, for an httpx.MockTransport."""
        _, _, room, *rest = request.url.path.split("/")
        endpoint = _ROUTES[request.method, room]
        paid = self._record_paid_request(endpoint, request, rest)
        fault = self.next_fault(endpoint.value)
        if self._clock.now < self.down_until or fault == "refused":
            self._drop_paid_request(paid)
            raise httpx.ConnectError("refused", request=request)
        self.call_times[endpoint].append(self._clock.now)
        await asyncio.sleep(NETWORK_DELAY_SECONDS)
        if fault == "lost before":
            raise httpx.ReadError("reset", request=request)
        if fault == "hangs":
            await asyncio.sleep(10_000)
        kind, _, moment = fault.partition(", ")
        if moment == "before":
            return _gateway(kind)
        response = self._early_response(fault, request) or self._route(endpoint, request, rest, paid)
        facts = self._facts(endpoint, rest, paid, response)
        await asyncio.sleep(NETWORK_DELAY_SECONDS)
        if moment == "after":
            return _gateway(kind)
        if fault == "lost after":
            raise httpx.ReadError("reset", request=request)
        if fault == "500 after":
            return _response(500, "<html>")
        if fault == "web page":
            return _response(200, "<html>Sign in</html>")
        if 400 <= response.status_code < 500:
            self._drop_paid_request(paid)
        self._on_facts(facts)
        return response

    def _facts(self, endpoint: Endpoint, rest: list[str], paid: SentPaidRequest | None, response: httpx.Response) -> list[Fact]:
        """What this answer says of moderation."""
        if paid is not None and paid.refused_as == "moderation":
            return [(paid.content, "", f"request {id(paid)}")]
        if paid is not None and paid.refused_as == "named moderation":
            return [(paid.content, paid.languages[0], f"request {id(paid)}")]
        if endpoint is not Endpoint.GET_DUBBING or response.status_code != 200:
            return []
        project = self.projects[rest[0]]
        content = self.assets[project.asset].content
        whole = [(content, "", rest[0])] if (project.status, project.code) == ("error", "moderation") else []
        refused = [(name, each) for name, each in _listed(project) if (each.status, each.code) == ("error", "moderation")]
        return whole + [(content, name, each.video) for name, each in refused]

    def _early_response(self, fault: str, request: httpx.Request) -> httpx.Response | None:
        """Answers that come before anything is processed."""
        if not self.accepts_key or request.headers["Authorization"] != API_KEY:
            return _response(401, {"error": "Unauthorized"})
        if fault == "429":
            return _response(429, {"error": "Too Many Requests"}, {"Retry-After": "20"})
        return _response(500, "<html>") if fault == "500" else None

    def next_fault(self, where: str) -> str:
        """What befalls this call; empty if nothing does."""
        waiting = self.faults.get(where)
        return waiting.popleft() if waiting else ""

    def _record_paid_request(self, endpoint: Endpoint, request: httpx.Request, rest: list[str]) -> SentPaidRequest | None:
        if endpoint not in PAID:
            return None
        content = _request_json(request)
        known = {**self.deleted_projects, **self.projects}
        title = known[rest[0]].title if rest else content["title"]
        asset = known[rest[0]].asset if rest else content["sourceAssetId"]
        languages = tuple(content["targetLanguages"])
        paid = SentPaidRequest(title, languages, asset, self.assets[asset].content, content.get("lipsyncEnabled", False))
        self.paid_requests.append(paid)
        try:
            self._check_paid(paid)
        except AssertionError as error:
            self.violations.append(str(error))
        return paid

    def _drop_paid_request(self, paid: SentPaidRequest | None) -> None:
        if paid is not None:
            self.paid_requests.remove(paid)
            self._on_unpaid(paid)

    def _new_id(self, prefix: str) -> str:
        self._id_counts[prefix] += 1
        return f"{prefix}{self._id_counts[prefix]}"

    # -- the API -------------------------------------------------------------------------------------------------------

    def _route(
        self, endpoint: Endpoint, request: httpx.Request, rest: list[str], paid: SentPaidRequest | None
    ) -> httpx.Response:
        match endpoint:
            case Endpoint.CREATE_ASSET:
                return self._create_asset(_request_json(request))
            case Endpoint.GET_ASSET if rest[0] in self.assets:
                return _response(200, {"id": rest[0], "status": self.assets[rest[0]].status})
            case Endpoint.GET_DUBBING if rest[0] in self.projects and rest[0] not in self.hidden:
                return _response(200, self._project_json(rest[0]))
            case Endpoint.CREATE_DUBBING:
                assert paid is not None
                return self._refusal_response(paid) or self._create_project(_request_json(request), paid)
            case Endpoint.ADD_LOCALES if rest[0] in self.projects and rest[0] not in self.hidden:
                assert paid is not None
                return self._refusal_response(paid) or self._add_languages(self.projects[rest[0]], paid)
        return _response(404, {"error": "Not Found"})

    def _create_asset(self, content: dict[str, Any]) -> httpx.Response:
        name = self._new_id("asset-")
        self.assets[name] = FakeAsset(content["title"])
        keys = {"accessKeyId": "A", "secretAccessKey": "S", "sessionToken": "T", "bucket": "uploads", "key": name}
        return _response(201, {"id": name, "uploadCredentials": keys})

    def _refusal_response(self, paid: SentPaidRequest) -> httpx.Response | None:
        """A no to all requests, to the whole of this one, or to its first language."""
        if not self.has_credits:
            return _response(402, {"error": "No credits left"})
        said = paid.refused_as = self.next_refusals.popleft() if self.next_refusals else ""
        if not said:
            return None
        named = [{"language": paid.languages[0], "error": said.removeprefix("named ")}]
        body = {"dubbedErrors": named} if said.startswith("named ") else {"error": said}
        return _response(400, body)

    def _create_project(self, content: dict[str, Any], paid: SentPaidRequest) -> httpx.Response:
        asset = content["sourceAssetId"]
        if asset not in self.assets:
            return _response(404, {"error": "Not Found"})
        if self.assets[asset].status == "awaiting_upload":
            return _response(400, {"error": "BrokenAssetUrlError"})
        name = self._new_id("project-")
        self.projects[name] = FakeProject(asset, content["title"])
        self._start_languages(self.projects[name], paid)
        return _response(202, {"createdImportedAsset": {"id": name}})

    def _start_languages(self, project: FakeProject, paid: SentPaidRequest) -> list[dict[str, str]]:
        """Languages that the project does not have, or that failed in it, are dubbed, and billed."""
        again = {language for language, known in project.languages.items() if known.status != "error"}
        paid.new_languages = tuple(language for language in paid.languages if language not in again)
        paid.has_arrived, paid.project = True, project
        for language in paid.new_languages:
            if language in project.languages:
                project.earlier.append((language, project.languages[language]))
            project.languages[language] = paid.attempts[language] = LanguageAttempt(
                self._new_id("video-"), listed=not self.lists_late
            )
        if paid.new_languages:
            project.status = "in_progress"
        return [{"language": language, "id": project.languages[language].video} for language in paid.new_languages]

    def _add_languages(self, project: FakeProject, paid: SentPaidRequest) -> httpx.Response:
        if project.status == "error":
            return _response(404, {"error": "Not Found"})
        created = self._start_languages(project, paid)
        return _response(202, {"createdDubbedAssets": created}) if created else _response(204, "")

    def _project_json(self, name: str) -> dict[str, Any]:
        project = self.projects[name]
        shown: dict[str, Any] = {"id": name, "status": project.status}
        if project.status == "error":
            shown["errorCode"] = project.code
        if listed := _listed(project):
            shown["dubbedAssets"] = [self._language_json(name, *item) for item in listed]
        return shown

    def _language_json(self, project: str, language: str, known: LanguageAttempt) -> dict[str, Any]:
        entry: dict[str, Any] = {"id": known.video, "language": language, "status": known.status}
        if known.status == "error":
            entry["errorCode"] = known.code
        elif known.status == "complete" and known.has_url:
            entry["download"] = f"https://files.test/{project}/{language}/mp4?signature=s"
            entry["captions"] = {"srt": f"https://files.test/{project}/{language}/srt?signature=s"}
        return entry


def _listed(project: FakeProject) -> list[tuple[str, LanguageAttempt]]:
    """What a project shows of its languages, earlier tries first."""
    if project.status == "error" and not project.lists_in_error:
        return []
    earlier = project.earlier if project.lists_earlier else []
    return [*earlier, *((name, each) for name, each in project.languages.items() if each.listed)]


def mend(project: FakeProject) -> None:
    """What failed is complete after all."""
    project.mended |= project.status == "error"
    for language in project.languages.values():
        language.mended |= language.status == "error"
        language.status = "complete"
    project.status = "complete"


class FakeUploader:
    """In place of the Uploader."""

    def __init__(self, service: FakeService, clock: VirtualClock) -> None:
        self._service = service
        self._clock = clock

    async def upload(self, source: Source, target: UploadTarget, progress: Callable[[int], None]) -> str:
        for sent in range(4):
            progress(source.size * sent // 4)
            await asyncio.sleep(0.5)
        if self._clock.now < self._service.down_until:
            raise ProblemError("upload_failed", "refused")
        if fault := self._service.next_fault("upload"):
            raise ProblemError(fault)
        try:
            now = Path(source.path).stat()
        except FileNotFoundError as error:
            raise ProblemError("source_missing") from error
        if not same_version(source_stamp(source), FileStamp(now.st_size, now.st_mtime_ns)):
            raise ProblemError("source_changed")
        asset = self._service.assets[target.key]
        asset.status, asset.content = "ready", Path(source.path).read_bytes()
        return compute_digest(source.path, size=source.size)

    async def close(self) -> None:
        pass


class FakeDownloader:
    """In place of the Downloader: it continues parts, and one fault is what the real one gives up after several."""

    def __init__(self, service: FakeService, clock: VirtualClock) -> None:
        self._service = service
        self._clock = clock

    async def download(
        self,
        url: str,
        part: str,
        *,
        etag: str = "",
        max_bytes: int | None = None,
        is_complete: IsComplete = completeness_unknown,
        on_start: OnStart = ignore_start,
        on_progress: Progress = ignore_progress,
    ) -> DownloadedFile:
        await asyncio.sleep(NETWORK_DELAY_SECONDS)
        content, found = self._content_of(url)
        if found != etag:
            Path(part).write_bytes(b"")
            await on_start(found, len(content))
        cut = self._service.next_fault("file") == "cut"
        while (have := Path(part).stat().st_size) < len(content):
            with Path(part).open("ab") as file:
                file.write(content[have : have + 2048])
            on_progress(have, len(content))
            await asyncio.sleep(NETWORK_DELAY_SECONDS)
            if cut:
                raise ProblemError("download_failed", "cut")
        now = Path(part).stat()
        return DownloadedFile(now.st_size, found, now.st_mtime_ns)

    def _content_of(self, url: str) -> tuple[bytes, str]:
        """The content and its validator."""
        _, project, language, ending = urlsplit(url).path.split("/")
        fault = self._service.next_fault("file")
        if fault == "expired" or project not in self._service.projects:
            raise UrlExpiredError(403)
        if fault == "broken" or self._clock.now < self._service.down_until:
            raise ProblemError("download_failed", "refused")
        video = self._service.projects[project].languages[language].video
        return self._service.video_content(project, language)[: None if ending == "mp4" else 100], f'"{video}"'

    async def close(self) -> None:
        pass


class _UnreadBody(httpx.AsyncByteStream):
    """A body that is not read yet."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content


def _response(status: int, what: Any, headers: dict[str, str] | None = None) -> httpx.Response:
    """An answer of JSON, or of text, that is not read yet."""
    text = what if isinstance(what, str) else json.dumps(what)
    kind = "text/html" if text.startswith("<") else "application/json"
    return httpx.Response(status, headers={"Content-Type": kind} | (headers or {}), stream=_UnreadBody(text.encode()))


def _gateway(kind: str) -> httpx.Response:
    return _response(*GATEWAYS[kind]) if kind in GATEWAYS else _response(204, "")


def _request_json(request: httpx.Request) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(request.content)
    return content


def read_stored_jobs(folder: Path) -> list[dict[str, Any]]:
    """The jobs as they stand on disk."""
    return [tomllib.loads(path.read_text()) for path in (folder / "jobs").glob("*.toml")]
