"""The five endpoints of the API, after the vendor's reference (OpenAPI of 2026-04).

Four behaviours are not documented but chosen here. An empty list of languages is refused with 400. A language given twice
counts once. If one language of a POST is refused, nothing is created. An asset may be dubbed while it is still processing (as
the vendor's own script does).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Literal, TypeVar
from uuid import UUID

import msgspec

from synthdub_tui import languages
from synthdub_tui.errors import SynthdubError
from synthdub_tui.sandbox import faults
from synthdub_tui.sandbox.downloads import Downloads
from synthdub_tui.sandbox.http_server import Note, Request, Response
from synthdub_tui.sandbox.request_gate import Gate
from synthdub_tui.sandbox.service_state import BUCKET, DubbedVideo, Project, SandboxAsset, ServiceState

_JSON: Final = (("Content-Type", "application/json"),)
_MEDIA_TYPES: Final = ("video/mp4", "video/webm", "video/quicktime")

Title = Annotated[str, msgspec.Meta(max_length=256)]


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    pass


_Shape = TypeVar("_Shape", bound=_Body)


class _Configuration(_Body, frozen=True):
    name: Literal["dubbing"] = "dubbing"
    detect_language: bool = True


class _CreateAsset(_Body, frozen=True):
    content_type: str
    configuration: _Configuration
    content_length: Annotated[int, msgspec.Meta(ge=0)] | None = None
    content_md5: str | None = msgspec.field(default=None, name="contentMD5")
    title: Title = "Untitled"


class _AddLocales(_Body, frozen=True):
    target_languages: list[str]
    lipsync_enabled: bool = False
    video_duration: Literal["adaptive", "original"] = "adaptive"
    visibility: Literal["private", "public"] = "private"


class _CreateDubbing(_AddLocales, frozen=True, kw_only=True):
    title: Title
    source_asset_id: str
    source_language: str


class _RefusedError(SynthdubError):
    """Ends a request with an error answer."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


class Api:
    """Answers requests to the API's port."""

    def __init__(self, gate: Gate, state: ServiceState, downloads: Downloads) -> None:
        self._gate = gate
        self._state = state
        self._downloads = downloads
        self._is_guide_style = gate.config.style == "guide"

    async def handle(self, request: Request) -> Response:
        endpoint, handler = self._route(request)

        async def answer(request: Request) -> Response:
            try:
                self._admit(request, endpoint)
                return await handler(request)
            except _RefusedError as refusal:
                return refusal.response

        return await self._gate.handle(request, endpoint, answer)

    def _route(self, request: Request) -> tuple[str, Callable[[Request], Awaitable[Response]]]:
        match (request.method, *request.path.strip("/").split("/")):
            case ("POST", "v2", "assets"):
                return "POST /v2/assets", self._create_asset
            case ("GET", "v2", "assets", _):
                return "GET /v2/assets/{id}", self._get_asset
            case ("POST", "v2", "dubbing"):
                return "POST /v2/dubbing", self._create_dubbing
            case ("GET", "v2", "dubbing", _):
                return "GET /v2/dubbing/{id}", self._get_dubbing
            case ("PUT", "v2", "dubbing", _):
                return "PUT /v2/dubbing/{id}", self._add_locales
            case _:
                return "unknown", self._unknown

    def _admit(self, request: Request, endpoint: str) -> None:
        if request.headers.get("authorization") != self._gate.config.api_key:
            if self._is_guide_style:
                raise _refused(401, "Unauthorized", "Missing or wrong API key.")
            raise _refused(403, "Forbidden", "Wrong API key.")
        now = self._gate.clock.now()
        exceeded = self._gate.limits.count_request(endpoint, now)
        if exceeded is not None:
            raise _RefusedError(faults.rate_limit_response(exceeded.limit, exceeded.reset, now))

    async def _unknown(self, request: Request) -> Response:
        return _answer(404, {"error": "Not Found"})

    # -- assets -------------------------------------------------------------------------------------------------------

    async def _create_asset(self, request: Request) -> Response:
        asked = await _decode(request, _CreateAsset)
        if asked.content_type not in _MEDIA_TYPES:
            raise _refused(415 if self._is_guide_style else 400, "Unsupported Media Type", "Expected mp4, webm or quicktime.")
        asset = self._state.create_asset(
            asked.title,
            asked.content_type,
            asked.configuration.detect_language,
            asked.content_length,
            asked.content_md5,
            self._gate.clock.now(),
        )
        grant = asset.grant
        credentials = {
            "accessKeyId": grant.access_key,
            "secretAccessKey": grant.secret,
            "sessionToken": grant.token,
            "bucket": BUCKET,
            "key": grant.key,
        }
        document = {"id": asset.id, "uploadUrl": None, "uploadCredentials": credentials}
        return _answer(201, document, Note(asset=asset.id))

    async def _get_asset(self, request: Request) -> Response:
        identity = _uuid(request, "Asset is not a valid user uploaded asset.")
        if identity in self._state.projects:
            raise _refused(400, "Bad Request", "Asset is not a valid user uploaded asset.")
        asset = self._state.assets.get(identity)
        if asset is None:
            raise _refused(404, "Not Found", "Asset does not exist or user does not have access.")
        return _answer(200, self._describe(asset), Note(asset=asset.id))

    def _describe(self, asset: SandboxAsset) -> dict[str, Any]:
        status = asset.status(self._gate.clock.now())
        detected = self._gate.config.detected_language if asset.detect and status == "ready" else None
        return {
            "id": asset.id,
            "title": asset.title,
            "contentType": asset.content_type,
            "status": status,
            "metadata": {"detectedLanguage": detected},
            "errorCode": asset.error if status == "error" else None,
        }

    # -- dubbing ------------------------------------------------------------------------------------------------------

    async def _create_dubbing(self, request: Request) -> Response:
        asked = await self._decode_dubbing(request)
        if asked.source_language not in languages.INPUT_CODES:
            raise _refused(400, "Bad Request", f"sourceLanguage: {asked.source_language!r} is not supported.")
        targets = _targets(asked)
        asset = self._state.assets.get(asked.source_asset_id)
        if asset is None:
            raise _refused(404, "Not Found", "Asset ID was not found.")
        if asset.uploaded_at is None or asset.error in ("asset_upload", "unknown"):
            raise _refused(400, "BrokenAssetUrlError", "One or more of the asset URLs in your video was broken")
        _refuse_languages(self._state.refused_languages(asked.title, asset.id, targets))
        now = self._gate.clock.now()
        project = self._state.create_project(asked.title, asset.id, targets, asked.visibility, now)
        note = Note(asset.id, project.id, tuple(targets), tuple(targets))
        return _answer(202, {"createdImportedAsset": {"id": project.id}}, note)

    async def _decode_dubbing(self, request: Request) -> _CreateDubbing:
        body = await _read(request)
        if _has_field(body, "sourceVideoUrl") and not _has_field(body, "sourceAssetId"):
            raise _refused(403, "Forbidden", "sourceVideoUrl is in beta and not available to this workspace.")
        return _convert(body, _CreateDubbing)

    async def _get_dubbing(self, request: Request) -> Response:
        project = self._project(request)
        now = self._gate.clock.now()
        status = project.status(now)
        note = Note(asset=project.asset, project=project.id)
        document: dict[str, Any] = {"id": project.id, "status": status.upper() if self._is_guide_style else status}
        if status == "error":
            return _answer(200, {**document, "errorCode": project.error}, note)
        wanted = [code for key, value in request.query if key == "targetLanguages" for code in value.split(",")]
        dubs = [dub for dub in project.dubs.values() if not wanted or dub.language in wanted]
        if wanted and not dubs:
            raise _refused(404, "Not Found", "Target languages not found.")
        listed = [self._describe_dub(project, dub, now) for dub in dubs if not dub.is_never_listed]
        return _answer(200, {**document, "dubbedVideos" if self._is_guide_style else "dubbedAssets": listed}, note)

    async def _add_locales(self, request: Request) -> Response:
        project = self._project(request)
        asked = await _decode(request, _AddLocales)
        targets = _targets(asked)
        now = self._gate.clock.now()
        if project.status(now) == "error":
            raise _refused(400, "Bad Request", "Invalid imported video.")
        new = [code for code in targets if not self._has_language(project, code, now)]
        note = Note(project.asset, project.id, tuple(targets))
        if not new:
            return Response(204, note=note)
        errors = self._state.refused_languages(project.title, project.asset, new)
        accepted = [code for code in new if code not in errors]
        added = self._state.add_languages(project, accepted, asked.visibility, now)
        document = {
            "createdDubbedAssets": [self._describe_dub(project, dub, now) for dub in added],
            "dubbedErrors": [{"error": code, "language": language} for language, code in errors.items()],
        }
        return _answer(202, document, Note(project.asset, project.id, tuple(targets), tuple(accepted)))

    def _has_language(self, project: Project, language: str, now: float) -> bool:
        dub = project.dubs.get(language)
        if dub is None or dub.is_never_listed:
            return False
        failed = bool(dub.error) and now >= dub.ends_at
        return self._gate.config.errors_count_as_added or not failed

    def _project(self, request: Request) -> Project:
        project = self._state.projects.get(_uuid(request, "Invalid dubbing project."))
        if project is None:
            raise _refused(404, "Not Found", "Imported video not found.")
        return project

    def _describe_dub(self, project: Project, dub: DubbedVideo, now: float) -> dict[str, Any]:
        where = "locale" if self._is_guide_style else "language"
        document: dict[str, Any] = {"id": dub.id, where: dub.language}
        if now < dub.ends_at:
            return {**document, "status": self._word("in_progress")}
        if dub.error:
            return {**document, "status": self._word("error"), "errorCode": dub.error}
        links = self._downloads.links(project, dub)
        return {
            **document,
            "title": project.title,
            "description": "",
            "status": self._word("complete"),
            "createdAt": int(dub.created),
            "lastUpdatedAt": int(dub.ends_at),
            "visibility": dub.visibility,
            "downloadUrl" if self._is_guide_style else "download": links.video,
            "thumbnail": {"image": links.image, "gif": links.gif},
            "captions": {"srt": links.srt, "vtt": links.vtt},
        }

    def _word(self, status: str) -> str:
        return status.upper() if self._is_guide_style else status


def _answer(status: int, document: dict[str, Any], note: Note | None = None) -> Response:
    return Response(status, _JSON, msgspec.json.encode(document), note or Note())


def _refused(status: int, error: str, context: str) -> _RefusedError:
    return _RefusedError(_answer(status, {"error": error, "context": context}))


def _refuse_languages(errors: dict[str, str]) -> None:
    if errors:
        listed = [{"error": code, "language": language} for language, code in errors.items()]
        raise _RefusedError(_answer(400, {"dubbedErrors": listed}))


def _targets(asked: _AddLocales) -> list[str]:
    """The requested languages, each once. Raises `_RefusedError` if there is none, or one is not supported."""
    if not asked.target_languages:
        raise _refused(400, "Bad Request", "targetLanguages: expected at least one language.")
    unknown = [code for code in asked.target_languages if code not in languages.OUTPUT_CODES]
    if isinstance(asked, _CreateDubbing):
        _refuse_languages(dict.fromkeys(unknown, "invalid_target_language"))
    elif unknown:
        raise _refused(400, "Bad Request", f"targetLanguages: not supported: {', '.join(unknown)}")
    return list(dict.fromkeys(asked.target_languages))


def _uuid(request: Request, context: str) -> str:
    try:
        return str(UUID(request.path.rstrip("/").rpartition("/")[2]))
    except ValueError as error:
        raise _refused(400, "Bad Request", context) from error


async def _read(request: Request) -> bytes:
    body = await request.body()
    if body is None:
        raise _refused(413, "Payload Too Large", "The request is larger than 1 MiB.")
    return body


async def _decode(request: Request, shape: type[_Shape]) -> _Shape:
    return _convert(await _read(request), shape)


def _convert(body: bytes, shape: type[_Shape]) -> _Shape:
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.DecodeError as error:
        raise _refused(400, "Bad Request", str(error)) from error


def _has_field(body: bytes, name: str) -> bool:
    try:
        document = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return False
    return isinstance(document, dict) and name in document
