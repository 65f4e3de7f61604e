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

from synthdub_tui.errors import Trouble
from synthdub_tui.jobs.model import Source
from synthdub_tui.sources.digest import digest_of
from synthdub_tui.sources.same_file import Stamp, same_version, stamp_of
from synthdub_tui.synthesia.rate_gate import Endpoint
from synthdub_tui.transfer.download import (
    Fetched,
    OnStart,
    Progress,
    UrlExpired,
    Whole,
    no_progress,
    nothing_tells,
    nothing_to_note,
)
from synthdub_tui.transfer.upload import UploadTarget
from tests.virtual_time import VirtualClock

KEY: Final = "key-of-the-simulation"
API: Final = "https://api.test"
WIRE: Final = 0.05
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
class Asset:
    title: str
    status: str = "awaiting_upload"
    content: bytes = b""  # as it was uploaded


@dataclass
class Language:
    """One try of a language in a project."""

    video: str
    status: str = "in_progress"
    code: str = ""
    address: bool = True  # whether a complete one has its address yet
    listed: bool = True  # whether the project shows it yet
    mended: bool = False  # it ended in failure, and is complete all the same


@dataclass
class Project:
    asset: str
    title: str
    status: str = "in_progress"
    code: str = ""
    languages: dict[str, Language] = field(default_factory=dict)
    earlier: list[tuple[str, Language]] = field(default_factory=list)  # tries that failed, where it goes on listing them
    lists_earlier: bool = False
    lists_in_error: bool = False  # its languages, although it ended in failure
    mended: bool = False

    @property
    def under_way(self) -> list[Language]:
        """What has not ended."""
        running = self.status == "in_progress"
        return [each for each in self.languages.values() if running and each.status == "in_progress"]


@dataclass(eq=False)
class PaidRequest:
    """One that left the client. It may have been taken for all its languages; once it arrived, it was for `new`."""

    title: str
    languages: tuple[str, ...]
    asset: str
    content: bytes  # as it was uploaded
    lipsync: bool
    arrived: bool = False
    new: tuple[str, ...] = ()
    project: Project | None = None
    refused_as: str = ""  # what was said of it, where it was refused
    tries: dict[str, Language] = field(default_factory=dict)  # what became of `new`

    @property
    def exposed(self) -> tuple[str, ...]:
        """What was paid for by it, or may have been."""
        return self.new if self.arrived else self.languages

    def stands_for(self, language: str) -> bool:
        """Whether the language was paid for by it, or may have been, and has not ended in failure."""
        failed = self.project is not None and self.project.status == "error"
        ended = language in self.tries and self.tries[language].status == "error"
        return language in self.exposed and not failed and not ended


Fact = tuple[bytes, str, str]
"""Moderation refused a content in a language, or as a whole (empty), in this try."""


class Service:
    """`check_paid` is called with each paid request that leaves the client, `on_unpaid` where it certainly was not taken, and
    `on_facts` with what an answer says of moderation."""

    def __init__(
        self,
        clock: VirtualClock,
        check_paid: Callable[[PaidRequest], None],
        on_unpaid: Callable[[PaidRequest], None] = lambda _: None,
        on_facts: Callable[[list[Fact]], None] = lambda _: None,
    ) -> None:
        self.assets: dict[str, Asset] = {}
        self.projects: dict[str, Project] = {}
        self.gone: dict[str, Project] = {}  # deleted
        self.hidden: set[str] = set()  # projects that are not known for a while
        self.lists_late = False  # whether projects show new languages only later
        self.paid: list[PaidRequest] = []
        self.calls: dict[Endpoint, list[float]] = {endpoint: [] for endpoint in Endpoint}
        self.faults: dict[str, deque[str]] = {}  # by endpoint, "upload" or "file": what befalls the next calls
        self.refusals: deque[str] = deque()  # of the next paid requests, by what is said
        self.down_until = 0.0
        self.key_good = True
        self.credits = True  # whether there are any left
        self.wrong: list[str] = []  # breaches that happened within a call, where an error would only look like a fault
        self._clock = clock
        self._check_paid = check_paid
        self._on_unpaid = on_unpaid
        self._on_facts = on_facts
        self._counts: Counter[str] = Counter()

    # -- for the test --------------------------------------------------------------------------------------------------

    def strike(self, where: str, fault: str, count: int) -> None:
        """Let it befall the next calls."""
        self.faults.setdefault(where, deque()).extend([fault] * count)

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self.faults.clear()
        self.refusals.clear()
        self.down_until, self.key_good, self.credits = 0.0, True, True
        self.catch_up()

    def catch_up(self) -> None:
        """All that was made is shown."""
        self.hidden.clear()
        self.lists_late = False
        for project in self.projects.values():
            for language in project.languages.values():
                language.listed = True

    def complete(self) -> None:
        """All that is under way ends well."""
        for project in self.projects.values():
            for language in project.under_way:
                language.status, language.address = "complete", True
            for language in project.languages.values():
                language.address = True
            if project.status == "in_progress":
                project.status = "complete"

    def exposures(self) -> Counter[tuple[str, str]]:
        """How often each language of each title was paid for, or may have been."""
        return Counter((request.title, language) for request in self.paid for language in request.exposed)

    def content(self, project: str, language: str) -> bytes:
        """The video of a language."""
        known = self.projects.get(project) or self.gone[project]
        return f"{project} {language} {known.languages[language].video} ".encode() * 200

    # -- HTTP ----------------------------------------------------------------------------------------------------------

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """The API, for an httpx.MockTransport."""
        _, _, room, *rest = request.url.path.split("/")
        endpoint = _ROUTES[request.method, room]
        paid = self._note_paid(endpoint, request, rest)
        fault = self.fault(endpoint.value)
        if self._clock.now < self.down_until or fault == "refused":
            self._not_paid(paid)
            raise httpx.ConnectError("refused", request=request)
        self.calls[endpoint].append(self._clock.now)
        await asyncio.sleep(WIRE)
        if fault == "lost before":
            raise httpx.ReadError("reset", request=request)
        if fault == "hangs":
            await asyncio.sleep(10_000)
        kind, _, moment = fault.partition(", ")
        if moment == "before":
            return _gateway(kind)
        response = self._early(fault, request) or self._handle(endpoint, request, rest, paid)
        facts = self._facts(endpoint, rest, paid, response)
        await asyncio.sleep(WIRE)
        if moment == "after":
            return _gateway(kind)
        if fault == "lost after":
            raise httpx.ReadError("reset", request=request)
        if fault == "500 after":
            return _said(500, "<html>")
        if fault == "web page":
            return _said(200, "<html>Sign in</html>")
        if 400 <= response.status_code < 500:
            self._not_paid(paid)
        self._on_facts(facts)
        return response

    def _facts(self, endpoint: Endpoint, rest: list[str], paid: PaidRequest | None, response: httpx.Response) -> list[Fact]:
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

    def _early(self, fault: str, request: httpx.Request) -> httpx.Response | None:
        """Answers that come before anything is processed."""
        if not self.key_good or request.headers["Authorization"] != KEY:
            return _said(401, {"error": "Unauthorized"})
        if fault == "429":
            return _said(429, {"error": "Too Many Requests"}, {"Retry-After": "20"})
        return _said(500, "<html>") if fault == "500" else None

    def fault(self, where: str) -> str:
        """What befalls this call; empty if nothing does."""
        waiting = self.faults.get(where)
        return waiting.popleft() if waiting else ""

    def _note_paid(self, endpoint: Endpoint, request: httpx.Request, rest: list[str]) -> PaidRequest | None:
        if endpoint not in PAID:
            return None
        content = _json(request)
        known = {**self.gone, **self.projects}
        title = known[rest[0]].title if rest else content["title"]
        asset = known[rest[0]].asset if rest else content["sourceAssetId"]
        languages = tuple(content["targetLanguages"])
        paid = PaidRequest(title, languages, asset, self.assets[asset].content, content.get("lipsyncEnabled", False))
        self.paid.append(paid)
        try:
            self._check_paid(paid)
        except AssertionError as error:
            self.wrong.append(str(error))
        return paid

    def _not_paid(self, paid: PaidRequest | None) -> None:
        if paid is not None:
            self.paid.remove(paid)
            self._on_unpaid(paid)

    def _new(self, prefix: str) -> str:
        self._counts[prefix] += 1
        return f"{prefix}{self._counts[prefix]}"

    # -- the API -------------------------------------------------------------------------------------------------------

    def _handle(self, endpoint: Endpoint, request: httpx.Request, rest: list[str], paid: PaidRequest | None) -> httpx.Response:
        match endpoint:
            case Endpoint.CREATE_ASSET:
                return self._create_asset(_json(request))
            case Endpoint.GET_ASSET if rest[0] in self.assets:
                return _said(200, {"id": rest[0], "status": self.assets[rest[0]].status})
            case Endpoint.GET_DUBBING if rest[0] in self.projects and rest[0] not in self.hidden:
                return _said(200, self._shown(rest[0]))
            case Endpoint.CREATE_DUBBING:
                assert paid is not None
                return self._refused(paid) or self._create(_json(request), paid)
            case Endpoint.ADD_LOCALES if rest[0] in self.projects and rest[0] not in self.hidden:
                assert paid is not None
                return self._refused(paid) or self._add(self.projects[rest[0]], paid)
        return _said(404, {"error": "Not Found"})

    def _create_asset(self, content: dict[str, Any]) -> httpx.Response:
        name = self._new("asset-")
        self.assets[name] = Asset(content["title"])
        keys = {"accessKeyId": "A", "secretAccessKey": "S", "sessionToken": "T", "bucket": "uploads", "key": name}
        return _said(201, {"id": name, "uploadCredentials": keys})

    def _refused(self, paid: PaidRequest) -> httpx.Response | None:
        """A no to all requests, to the whole of this one, or to its first language."""
        if not self.credits:
            return _said(402, {"error": "No credits left"})
        said = paid.refused_as = self.refusals.popleft() if self.refusals else ""
        if not said:
            return None
        named = [{"language": paid.languages[0], "error": said.removeprefix("named ")}]
        body = {"dubbedErrors": named} if said.startswith("named ") else {"error": said}
        return _said(400, body)

    def _create(self, content: dict[str, Any], paid: PaidRequest) -> httpx.Response:
        asset = content["sourceAssetId"]
        if asset not in self.assets:
            return _said(404, {"error": "Not Found"})
        if self.assets[asset].status == "awaiting_upload":
            return _said(400, {"error": "BrokenAssetUrlError"})
        name = self._new("project-")
        self.projects[name] = Project(asset, content["title"])
        self._begin(self.projects[name], paid)
        return _said(202, {"createdImportedAsset": {"id": name}})

    def _begin(self, project: Project, paid: PaidRequest) -> list[dict[str, str]]:
        """Languages that the project does not have, or that failed in it, are dubbed, and billed."""
        again = {language for language, known in project.languages.items() if known.status != "error"}
        paid.new = tuple(language for language in paid.languages if language not in again)
        paid.arrived, paid.project = True, project
        for language in paid.new:
            if language in project.languages:
                project.earlier.append((language, project.languages[language]))
            project.languages[language] = paid.tries[language] = Language(self._new("video-"), listed=not self.lists_late)
        if paid.new:
            project.status = "in_progress"
        return [{"language": language, "id": project.languages[language].video} for language in paid.new]

    def _add(self, project: Project, paid: PaidRequest) -> httpx.Response:
        if project.status == "error":
            return _said(404, {"error": "Not Found"})
        created = self._begin(project, paid)
        return _said(202, {"createdDubbedAssets": created}) if created else _said(204, "")

    def _shown(self, name: str) -> dict[str, Any]:
        project = self.projects[name]
        shown: dict[str, Any] = {"id": name, "status": project.status}
        if project.status == "error":
            shown["errorCode"] = project.code
        if listed := _listed(project):
            shown["dubbedAssets"] = [self._entry(name, *item) for item in listed]
        return shown

    def _entry(self, project: str, language: str, known: Language) -> dict[str, Any]:
        entry: dict[str, Any] = {"id": known.video, "language": language, "status": known.status}
        if known.status == "error":
            entry["errorCode"] = known.code
        elif known.status == "complete" and known.address:
            entry["download"] = f"https://files.test/{project}/{language}/mp4?signature=s"
            entry["captions"] = {"srt": f"https://files.test/{project}/{language}/srt?signature=s"}
        return entry


def _listed(project: Project) -> list[tuple[str, Language]]:
    """What a project shows of its languages, earlier tries first."""
    if project.status == "error" and not project.lists_in_error:
        return []
    earlier = project.earlier if project.lists_earlier else []
    return [*earlier, *((name, each) for name, each in project.languages.items() if each.listed)]


def mend(project: Project) -> None:
    """What failed is complete after all."""
    project.mended |= project.status == "error"
    for language in project.languages.values():
        language.mended |= language.status == "error"
        language.status = "complete"
    project.status = "complete"


class Storage:
    """In place of the Uploader."""

    def __init__(self, service: Service, clock: VirtualClock) -> None:
        self._service = service
        self._clock = clock

    async def upload(self, source: Source, target: UploadTarget, progress: Callable[[int], None]) -> str:
        for sent in range(4):
            progress(source.size * sent // 4)
            await asyncio.sleep(0.5)
        if self._clock.now < self._service.down_until:
            raise Trouble("upload_failed", "refused")
        if fault := self._service.fault("upload"):
            raise Trouble(fault)
        try:
            now = Path(source.path).stat()
        except FileNotFoundError as error:
            raise Trouble("source_missing") from error
        if not same_version(stamp_of(source), Stamp(now.st_size, now.st_mtime_ns)):
            raise Trouble("source_changed")
        asset = self._service.assets[target.key]
        asset.status, asset.content = "ready", Path(source.path).read_bytes()
        return digest_of(source.path, size=source.size)

    async def close(self) -> None:
        pass


class Files:
    """In place of the Downloader: it continues parts, and one fault is what the real one gives up after several."""

    def __init__(self, service: Service, clock: VirtualClock) -> None:
        self._service = service
        self._clock = clock

    async def fetch(
        self,
        url: str,
        part: str,
        *,
        etag: str = "",
        limit: int | None = None,
        whole: Whole = nothing_tells,
        on_start: OnStart = nothing_to_note,
        progress: Progress = no_progress,
    ) -> Fetched:
        await asyncio.sleep(WIRE)
        content, found = self._asked(url)
        if found != etag:
            Path(part).write_bytes(b"")
            await on_start(found, len(content))
        cut = self._service.fault("file") == "cut"
        while (have := Path(part).stat().st_size) < len(content):
            with Path(part).open("ab") as file:
                file.write(content[have : have + 2048])
            progress(have, len(content))
            await asyncio.sleep(WIRE)
            if cut:
                raise Trouble("download_failed", "cut")
        now = Path(part).stat()
        return Fetched(now.st_size, found, now.st_mtime_ns)

    def _asked(self, url: str) -> tuple[bytes, str]:
        """The content and its validator."""
        _, project, language, ending = urlsplit(url).path.split("/")
        fault = self._service.fault("file")
        if fault == "expired" or project not in self._service.projects:
            raise UrlExpired(403)
        if fault == "broken" or self._clock.now < self._service.down_until:
            raise Trouble("download_failed", "refused")
        video = self._service.projects[project].languages[language].video
        return self._service.content(project, language)[: None if ending == "mp4" else 100], f'"{video}"'

    async def close(self) -> None:
        pass


class _Body(httpx.AsyncByteStream):
    """A body that is not read yet."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content


def _said(status: int, what: Any, headers: dict[str, str] | None = None) -> httpx.Response:
    """An answer of JSON, or of text, that is not read yet."""
    text = what if isinstance(what, str) else json.dumps(what)
    kind = "text/html" if text.startswith("<") else "application/json"
    return httpx.Response(status, headers={"Content-Type": kind} | (headers or {}), stream=_Body(text.encode()))


def _gateway(kind: str) -> httpx.Response:
    return _said(*GATEWAYS[kind]) if kind in GATEWAYS else _said(204, "")


def _json(request: httpx.Request) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(request.content)
    return content


def stored(folder: Path) -> list[dict[str, Any]]:
    """The jobs as they stand on disk."""
    return [tomllib.loads(path.read_text()) for path in (folder / "jobs").glob("*.toml")]
