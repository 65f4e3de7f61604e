"""Reads the service's answers with tolerance, and builds requests strictly.

Reading follows the API reference (OpenAPI of 2026-04) and the vendor's guide, whose script accepts other names for some
fields; if the two differ, both names are read. Unneeded fields may be missing or of any type. If a needed part is missing,
reading raises `BadResponseError` and never another error. All strings are bounded. No repr shows URLs or credentials.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from synthdub_tui.jobs.moderation import MODERATION, is_moderation_refusal
from synthdub_tui.text import make_printable

from .errors import BadResponseError, RequestRejectedError

MAX_TITLE_CHARACTERS: Final = 256
"""Longest title, in characters (API reference)."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*", re.ASCII)
_URL = re.compile(r"https?://[\x21-\x7e]+?(?:[/?#][^\x00-\x1f\x7f\ud800-\udfff]*)?", re.IGNORECASE)
_MAX_URL_CHARACTERS = 16_384
_UNQUOTED = re.compile(r"%(?![0-9A-Fa-f]{2})|[^!#$%&'()*+,/0-9:;=?@A-Z\[\]_a-z~.-]")
_SECRET = re.compile(r"[\x21-\x7e]{1,16384}", re.ASCII)
_QUERY = re.compile(r"(https?://[^\s?#\"'<>]*)[?#][^\s\"'<>]*", re.ASCII | re.IGNORECASE)

_MAX_CODE_CHARACTERS = 100
_MAX_MESSAGE_CHARACTERS = 300
_MAX_INPUT_CHARACTERS = 20_000  # of an outside text, read to find the words
_MAX_ENTRIES = 2_000

_CONTENT_TYPES = frozenset({"video/mp4", "video/webm", "video/quicktime"})
_DURATIONS = frozenset({"adaptive", "original"})
_VISIBILITIES = frozenset({"private", "public"})

_ACCEPTED_FIELDS = ("createdImportedAsset", "createdDubbedAssets")
"""Fields that show that the service accepted something, even if the answer also has errors."""

_COMPLETE = frozenset({"complete", "completed"})
_CANCELLED = frozenset({"canceled", "cancelled"})
_FAILED = frozenset({"error", "failed", "rejected", *_CANCELLED})
_RUNNING = frozenset({"in_progress", "uploading", "processing", "queued", "pending", "started", "running"})


# -- values read from answers ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UploadCredentials:
    """Short-lived S3 credentials for one key in one bucket. All are secret but the bucket, which alone shows in a repr."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    bucket: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class AssetCreated:
    """A new asset and the credentials to upload its file."""

    id: str
    credentials: UploadCredentials


class AssetStatus(StrEnum):
    """Status of an asset; OTHER stands for an unknown word."""

    AWAITING_UPLOAD = "awaiting_upload"
    PROCESSING = "processing"
    READY = "ready"
    ERROR = "error"
    OTHER = "other"


@dataclass(frozen=True)
class AssetInfo:
    """An asset at the service. `language` is the detected language, empty if none was detected so far."""

    status: AssetStatus
    language: str = ""
    error_code: str = ""


class ProjectStatus(StrEnum):
    """Status of a dubbing project; an unknown word counts as running."""

    RUNNING = "running"
    COMPLETE = "complete"
    ERROR = "error"


class LanguageStatus(StrEnum):
    """Status of one language of a project. Complete means that it can be downloaded."""

    RUNNING = "running"
    COMPLETE = "complete"
    ERROR = "error"


@dataclass(frozen=True)
class LanguageInfo:
    """One dubbed language of a project. URLs are signed and expire; they are empty if the service gives none.

    `video` is the id of the dubbed asset, or empty. An error always has an `error_code`. `unknown_status` says why a language
    counts as running although the service does not say so: an unknown status, or complete without a URL.
    """

    language: str
    video: str
    state: LanguageStatus
    error_code: str = ""
    download: str = field(default="", repr=False)
    srt: str = field(default="", repr=False)
    vtt: str = field(default="", repr=False)
    image: str = field(default="", repr=False)
    unknown_status: str = ""


@dataclass(frozen=True)
class ProjectInfo:
    """A dubbing project. If it failed as a whole, it has an `error_code` and usually no languages. `unknown_status`: an unknown
    status that counts as running."""

    status: ProjectStatus
    error_code: str
    languages: tuple[LanguageInfo, ...]
    unknown_status: str = ""


@dataclass(frozen=True)
class LocalesAdded:
    """Result of adding locales to a project. `nothing_new`: it had all of them already. `refused`: (language, error)."""

    nothing_new: bool
    created: tuple[LanguageInfo, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


class ErrorBody(NamedTuple):
    """Content of an error answer: its code or text, the context, and (language, error) of `dubbedErrors`.

    `is_from_api`: it has a form of the API reference, `{"error": str}` or `{"dubbedErrors": [{…}]}`; gateways use other forms.
    """

    error: str = ""
    context: str = ""
    languages: tuple[tuple[str, str], ...] = ()
    is_from_api: bool = False

    @property
    def message(self) -> str:
        """The whole content in one short line."""
        parts = [self.error, self.context, *(f"{language}: {error}" for language, error in self.languages[:5])]
        return clean_message("; ".join(part for part in parts if part))


# -- reading -----------------------------------------------------------------------------------------------------------


def decode(body: bytes) -> object:
    """Returns the JSON in a body. Raises BadResponseError if it is not JSON, or nested too deeply to be read."""
    text = body.removeprefix(b"\xef\xbb\xbf")
    try:
        try:
            return msgspec.json.decode(text)
        except ValueError:
            # Unneeded fields may contain numbers beyond 64 bits or lone surrogates, which only the standard library accepts.
            return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadResponseError("not JSON" if text.strip() else "empty") from error


def read_asset_created(data: object) -> AssetCreated:
    """Reads the answer of POST /v2/assets."""
    answer = _require_object(data, "the answer")
    credentials = _require_object(answer.get("uploadCredentials"), "uploadCredentials")
    names = ("accessKeyId", "secretAccessKey", "sessionToken", "bucket", "key")
    values = [_match_or_empty(_SECRET, credentials.get(name)) for name in names[:-1]]
    values.append(_text(credentials.get("key"), 1024))  # an object's key may contain any character (S3 user guide)
    missing = [name for name, value in zip(names, values, strict=True) if not value]
    if missing:
        raise BadResponseError(f"uploadCredentials without {', '.join(missing)}")
    return AssetCreated(_require_id(answer.get("id"), "the asset's id"), UploadCredentials(*values))


def read_asset(data: object) -> AssetInfo:
    """Reads the answer of GET /v2/assets/{id}."""
    answer = _require_object(data, "the answer")
    word = _normalize_status(answer.get("status"))
    if not word:
        raise BadResponseError("an asset without a status")
    known = {status.value for status in AssetStatus}
    metadata = answer.get("metadata")
    language = metadata.get("detectedLanguage") if isinstance(metadata, dict) else None
    return AssetInfo(
        AssetStatus(word) if word in known else AssetStatus.OTHER,
        _match_or_empty(_LANGUAGE, language),
        _error_code(answer),
    )


def read_project_id(data: object) -> str:
    """Reads the project's id from the answer of POST /v2/dubbing."""
    created = _require_object(data, "the answer").get("createdImportedAsset")
    return _require_id(_require_object(created, "createdImportedAsset").get("id"), "the project's id")


def read_project(data: object) -> ProjectInfo:
    """Reads the answer of GET /v2/dubbing/{id}."""
    answer = _require_object(data, "the answer")
    word = _normalize_status(answer.get("status"))
    entries = _entries(answer, "dubbedAssets", "dubbedVideos", "dubbed")
    if not word and not entries:
        raise BadResponseError("a project without a status")
    if not entries and not _id(answer.get("id")) and not _is_about_project(answer, word):
        raise BadResponseError(f"a status “{clean_message(word)}” and nothing of a project")
    status = ProjectStatus.RUNNING
    if word in _COMPLETE:
        status = ProjectStatus.COMPLETE
    elif _is_failed_status(word):
        status = ProjectStatus.ERROR
    code = _failure_code(answer, word) if status is ProjectStatus.ERROR else ""
    oddity = clean_message(word) if status is ProjectStatus.RUNNING and word not in _RUNNING else ""
    return ProjectInfo(status, code, tuple(_languages(entries, status)), oddity)


def _is_about_project(answer: dict[str, object], word: str) -> bool:
    """Whether an answer without id and languages is about a project; a gateway may also say `{"status": "error"}`."""
    return word in _COMPLETE | _RUNNING or (_is_failed_status(word) and bool(clean_message(answer.get("errorCode"))))


def _is_failed_status(word: str) -> bool:
    return word in _FAILED or is_moderation_refusal("", word)


def read_locales_added(data: object) -> LocalesAdded:
    """Reads the answer 202 of PUT /v2/dubbing/{id}."""
    answer = _require_object(data, "the answer")
    names = ("createdDubbedAssets", "dubbedAssets", "dubbedVideos", "dubbed")
    if not any(isinstance(answer.get(name), list) for name in (*names, "dubbedErrors")):
        raise BadResponseError("neither createdDubbedAssets nor dubbedErrors")
    created = tuple(_languages(_entries(answer, *names), ProjectStatus.RUNNING))
    return LocalesAdded(False, created, _language_errors(answer))


def read_error(body: bytes) -> ErrorBody:
    """Reads an error answer; the result is empty if the body is not a JSON object. Never raises."""
    try:
        answer = decode(body)
    except BadResponseError:
        return ErrorBody()
    if not isinstance(answer, dict):
        return ErrorBody()
    error = answer.get("error") or answer.get("message") or answer.get("detail")
    languages = _language_errors(answer)
    of_api = bool(clean_message(answer.get("error")) or languages) and not any(name in answer for name in _ACCEPTED_FIELDS)
    return ErrorBody(clean_message(error), clean_message(answer.get("context")), languages, of_api)


def clean_message(text: object) -> str:
    """Makes outside text safe to show and store: short, in one line, URLs without their query, which may be a signature."""
    if not isinstance(text, str):
        return ""
    shown = " ".join(_QUERY.sub(r"\1", text[:_MAX_INPUT_CHARACTERS]).split())
    return make_printable(shown, _MAX_MESSAGE_CHARACTERS)


def is_id(value: str) -> bool:
    """Whether `value` may be used as an id in a request's path."""
    return _ID.fullmatch(value) is not None


# -- building ----------------------------------------------------------------------------------------------------------


def encode_asset_request(*, title: str, content_type: str, size: int) -> bytes:
    """Body of POST /v2/assets. `size` is in bytes. Like all builders, raises RequestRejectedError if the service would refuse
    it."""
    if content_type not in _CONTENT_TYPES:
        raise RequestRejectedError("media_type", clean_message(content_type))
    if size < 1:
        raise RequestRejectedError("source_empty")
    body = {
        "contentType": content_type,
        "configuration": {"name": "dubbing", "detectLanguage": True},
        "title": _title(title),
        "contentLength": size,
    }
    return msgspec.json.encode(body)


def encode_dubbing_request(
    *,
    title: str,
    asset: str,
    source_language: str,
    targets: Sequence[str],
    lipsync: bool,
    video_duration: str,
    visibility: str,
) -> bytes:
    """Body of POST /v2/dubbing."""
    if not is_id(asset):
        raise RequestRejectedError("request_refused", f"not an asset's id: {clean_message(asset)}")
    if not _LANGUAGE.fullmatch(source_language):
        raise RequestRejectedError("language_refused", clean_message(source_language))
    body = {
        "title": _title(title),
        "sourceAssetId": asset,
        "sourceLanguage": source_language,
        **_options(targets, lipsync, video_duration, visibility),
    }
    return msgspec.json.encode(body)


def encode_locales_request(*, targets: Sequence[str], lipsync: bool, video_duration: str, visibility: str) -> bytes:
    """Body of PUT /v2/dubbing/{id}."""
    return msgspec.json.encode(_options(targets, lipsync, video_duration, visibility))


def _options(targets: Sequence[str], lipsync: bool, video_duration: str, visibility: str) -> dict[str, object]:
    wrong = tuple((clean_message(target), "not a language code") for target in targets if not _LANGUAGE.fullmatch(target))
    if wrong:
        raise RequestRejectedError("language_refused", ", ".join(target for target, _ in wrong), languages=wrong)
    if not targets or len(set(targets)) != len(targets):
        raise RequestRejectedError("request_refused", "no target language, or one given twice")
    if video_duration not in _DURATIONS or visibility not in _VISIBILITIES:
        raise RequestRejectedError(
            "request_refused", f"video duration {clean_message(video_duration)}, visibility {clean_message(visibility)}"
        )
    return {
        "targetLanguages": list(targets),
        "lipsyncEnabled": bool(lipsync),
        "videoDuration": video_duration,
        "visibility": visibility,
    }


def _title(title: str) -> str:
    if len(title) > MAX_TITLE_CHARACTERS:
        raise RequestRejectedError("title_too_long")
    # A file name that is not UTF-8 has lone surrogates, which JSON cannot contain.
    return title.encode(errors="replace").decode() or "Untitled"


# -- parts of answers --------------------------------------------------------------------------------------------------


def _require_object(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise BadResponseError(f"{name} is missing or no object")
    return value


def _require_id(value: object, name: str) -> str:
    found = _id(value)
    if not found:
        raise BadResponseError(f"{name} is missing or unusable")
    return found


def _id(value: object) -> str:
    """Returns an id, which may be a number in the answer; empty if the value is not an id."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64:
        return str(value)
    return _match_or_empty(_ID, value)


def _match_or_empty(pattern: re.Pattern[str], value: object) -> str:
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""


def _text(value: object, limit: int) -> str:
    return value if isinstance(value, str) and len(value) <= limit and value.isprintable() else ""


def _normalize_status(value: object) -> str:
    """Returns a status word in one spelling: `In-Progress` and `IN_PROGRESS` mean the same."""
    return value[:_MAX_CODE_CHARACTERS].strip().lower().replace("-", "_").replace(" ", "_") if isinstance(value, str) else ""


def _error_code(answer: dict[str, object]) -> str:
    """Returns an error code, or the text given instead of one; empty if none. All wordings of moderation have one code."""
    said = [clean_message(answer.get(name)) for name in ("errorCode", "error", "message", "context", "reason")]
    if is_moderation_refusal(said[0], " ".join(said[1:])):
        return MODERATION
    return make_printable(said[0] or said[1], _MAX_CODE_CHARACTERS)


def _failure_code(answer: dict[str, object], word: str) -> str:
    """Returns the code of a failure with the status `word`, even if the service gives none."""
    code = _error_code(answer)
    if is_moderation_refusal(code, word):
        return MODERATION
    return code or ("cancelled_by_service" if word in _CANCELLED else "processing_error")


def _entries(answer: dict[str, object], *names: str) -> list[dict[str, object]]:
    """Returns the objects in the first of these lists that is not empty."""
    for name in names:
        value = answer.get(name)
        if isinstance(value, list) and value:
            return [entry for entry in value[:_MAX_ENTRIES] if isinstance(entry, dict)]
    return []


def _languages(entries: list[dict[str, object]], project: ProjectStatus) -> Iterator[LanguageInfo]:
    for entry in entries:
        language = _match_or_empty(_LANGUAGE, entry.get("language")) or _match_or_empty(_LANGUAGE, entry.get("locale"))
        if language:
            yield _language(entry, language, project)


def _language(entry: dict[str, object], language: str, project: ProjectStatus) -> LanguageInfo:
    download = next((url for name in ("download", "downloadUrl", "url") if (url := _read_url(entry.get(name)))), "")
    state = _state(entry, bool(download), project)
    captions, thumbnail = entry.get("captions"), entry.get("thumbnail")
    return LanguageInfo(
        language=language,
        video=_id(entry.get("id")),
        state=state,
        error_code=_failure_code(entry, _normalize_status(entry.get("status"))) if state is LanguageStatus.ERROR else "",
        download=download,
        srt=_read_url(captions.get("srt")) if isinstance(captions, dict) else "",
        vtt=_read_url(captions.get("vtt")) if isinstance(captions, dict) else "",
        image=_read_url(thumbnail.get("image")) if isinstance(thumbnail, dict) else "",
        unknown_status=_unknown_status(_normalize_status(entry.get("status"))) if state is LanguageStatus.RUNNING else "",
    )


def _unknown_status(word: str) -> str:
    """Returns the `unknown_status` of a language that counts as running and has this status."""
    if word in _COMPLETE:
        return f"{word}, without an address to download from"
    return "" if word in _RUNNING else clean_message(word)


def _state(entry: dict[str, object], has_url: bool, project: ProjectStatus) -> LanguageStatus:
    """Returns an entry's state. Complete without a URL is "still being processed" (guide, troubleshooting): keep polling.

    As in the guide's script, an entry with a URL is complete if its status is empty, or unknown in a complete project.
    """
    word = _normalize_status(entry.get("status"))
    if _is_failed_status(word) or (not word and not has_url and _error_code(entry)):
        return LanguageStatus.ERROR
    unknown_but_done = word not in _RUNNING and project is ProjectStatus.COMPLETE
    if has_url and (not word or word in _COMPLETE or unknown_but_done):
        return LanguageStatus.COMPLETE
    return LanguageStatus.RUNNING


def _read_url(value: object) -> str:
    """Returns a URL, with characters quoted as clients do: spaces, letters beyond ASCII, `|`. Quoted parts stay unchanged,
    since the URL may be signed. Empty if the value is not a URL."""
    if not isinstance(value, str) or len(value) > _MAX_URL_CHARACTERS or not _URL.fullmatch(value.strip()):
        return ""
    return _UNQUOTED.sub(lambda found: quote(found[0], safe=""), value.strip())


def _language_errors(answer: dict[str, object]) -> tuple[tuple[str, str], ...]:
    """Returns (language, error) of `dubbedErrors`; the language is empty if none is named."""
    errors = _entries(answer, "dubbedErrors")
    return tuple(
        (
            _match_or_empty(_LANGUAGE, entry.get("language")) or _match_or_empty(_LANGUAGE, entry.get("locale")),
            clean_message(entry.get("error")),
        )
        for entry in errors
    )
