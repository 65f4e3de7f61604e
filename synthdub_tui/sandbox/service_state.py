"""The test server's state, in memory only: assets with their upload credentials, projects with their dubs."""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final
from uuid import uuid4

from synthdub_tui.sandbox.config import SandboxConfig, Seconds, SimulatedFailure

BUCKET: Final = "synthesia-sandbox-uploads"
RESULT_BUCKET: Final = "synthesia-sandbox-results"


@dataclass(frozen=True)
class UploadGrant:
    """Upload credentials for one key of the bucket."""

    access_key: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    key: str
    expires: float


@dataclass(frozen=True)
class SandboxAsset:
    """A video that is uploaded, or will be."""

    id: str
    title: str
    content_type: str
    detect: bool
    length: int | None  # bytes, as announced by the client
    md5: str | None  # as announced by the client, hexadecimal or base64
    grant: UploadGrant
    uploaded_at: float | None = None
    error: str = ""  # errorCode, shown once processed
    processed_at: float = 0.0  # when processing ends

    def status(self, now: float) -> str:
        if self.uploaded_at is None:
            return "awaiting_upload"
        if now < self.processed_at:
            return "processing"
        return "error" if self.error else "ready"


@dataclass(frozen=True)
class DubbedVideo:
    """One language of a project. Its dubbing ends at `ends_at`, with an error if `error` is set."""

    id: str
    language: str
    created: float
    ends_at: float
    error: str = ""
    is_never_listed: bool = False  # never listed
    visibility: str = "private"


@dataclass(frozen=True)
class Project:
    """A dubbing project. If `error` is set, the whole project fails at `fails_at`."""

    id: str
    title: str
    asset: str
    created: float
    dubs: dict[str, DubbedVideo] = field(default_factory=dict)
    error: str = ""
    fails_at: float = 0.0

    def status(self, now: float) -> str:
        if self.error and now >= self.fails_at:
            return "error"
        return "complete" if all(now >= dub.ends_at for dub in self.dubs.values()) else "in_progress"


class ServiceState:
    """All assets and projects, and the rules for how long work takes and when it fails."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.assets: dict[str, SandboxAsset] = {}
        self.projects: dict[str, Project] = {}
        self._assets_by_name: dict[str, str] = {}  # access key or object key → id of the asset
        self._failure_counts: dict[SimulatedFailure, int] = {}
        self._attempts: dict[tuple[str, str], int] = {}

    # -- assets -------------------------------------------------------------------------------------------------------

    def create_asset(
        self, title: str, content_type: str, detect: bool, length: int | None, md5: str | None, now: float
    ) -> SandboxAsset:
        identity = str(uuid4())
        asset = SandboxAsset(identity, title, content_type, detect, length, md5, self._grant(identity, now))
        self.assets[identity] = asset
        self._assets_by_name.update({asset.grant.access_key: identity, asset.grant.key: identity})
        return asset

    def _grant(self, asset: str, now: float) -> UploadGrant:
        return UploadGrant(
            access_key="ASIA" + secrets.token_hex(8).upper(),
            secret=secrets.token_urlsafe(30),
            token=secrets.token_urlsafe(240),
            key=f"user-assets/{asset}/source",
            expires=now + self.config.upload_credentials_seconds,
        )

    def grant(self, access_key: str) -> UploadGrant | None:
        """The credentials with this access key, if any."""
        asset = self.assets.get(self._assets_by_name.get(access_key, ""))
        return asset.grant if asset else None

    def announced_md5(self, key: str) -> str | None:
        """The `contentMD5` of the asset to which an object belongs."""
        return self.assets[self._assets_by_name[key]].md5

    def finish_upload(self, key: str, size: int, intact: bool, now: float) -> None:
        """Start processing the asset of an object that the storage has completed."""
        asset = self.assets[self._assets_by_name[key]]
        wrong = not intact or (asset.length is not None and asset.length != size)
        failure = self._failure("asset", [asset.title])
        error = "asset_upload" if wrong else failure.code if failure else ""
        self.assets[asset.id] = replace(asset, uploaded_at=now, processed_at=now + self.config.processing_seconds, error=error)

    # -- projects -----------------------------------------------------------------------------------------------------

    def refused_languages(self, title: str, asset: str, languages: list[str]) -> dict[str, str]:
        """Languages that are refused although their codes are valid, with the error code."""
        titles = [title, self.assets[asset].title]
        found = {language: self._failure("refused", titles, language) for language in languages}
        return {language: failure.code for language, failure in found.items() if failure}

    def create_project(self, title: str, asset: str, languages: list[str], visibility: str, now: float) -> Project:
        failure = self._failure("project", [title, self.assets[asset].title])
        project = Project(str(uuid4()), title, asset, now, error=failure.code if failure else "")
        self.projects[project.id] = project
        self.add_languages(project, languages, visibility, now)
        if failure:
            first = min((dub.ends_at for dub in project.dubs.values()), default=now)
            fails = first if failure.after is None else now + failure.after
            self.projects[project.id] = replace(project, fails_at=fails)
        return self.projects[project.id]

    def add_languages(self, project: Project, languages: list[str], visibility: str, now: float) -> list[DubbedVideo]:
        """Start dubbing into further languages; an existing one is replaced."""
        added = [self._dub(project, language, visibility, now) for language in languages]
        project.dubs.update({dub.language: dub for dub in added})
        return added

    def _dub(self, project: Project, language: str, visibility: str, now: float) -> DubbedVideo:
        titles = [project.title, self.assets[project.asset].title]
        failure = self._failure("language", titles, language)
        missing = self._failure("missing", titles, language)
        seconds = self._seconds(project.title, language)
        if failure and failure.after is not None:
            seconds = failure.after
        return DubbedVideo(
            id=str(uuid4()),
            language=language,
            created=now,
            ends_at=now + seconds,
            error=failure.code if failure else "",
            is_never_listed=missing is not None,
            visibility=visibility,
        )

    def _seconds(self, title: str, language: str) -> float:
        """How long dubbing takes, in seconds; always the same for one seed, title, language and attempt."""
        attempt = self._attempts[title, language] = self._attempts.get((title, language), 0) + 1
        by_title = _match(self.config.dubbing_seconds_by_title, title)
        low, high = by_title or _match(self.config.dubbing_seconds_by_language, language) or self.config.dubbing_seconds
        chance = random.Random(f"{self.config.seed}|{title}|{language}|{attempt}")  # noqa: S311 - not for secrets
        return chance.uniform(low, high)

    def _failure(self, kind: str, titles: list[str], language: str | None = None) -> SimulatedFailure | None:
        """The first failure of that kind that applies, if any; counts it."""
        for failure in self.config.failures:
            if failure.kind != kind or not any(fnmatchcase(title, failure.title) for title in titles):
                continue
            if language is not None and not any(fnmatchcase(language, pattern) for pattern in failure.languages):
                continue
            struck = self._failure_counts.get(failure, 0)
            if failure.times is None or struck < failure.times:
                self._failure_counts[failure] = struck + 1
                return failure
        return None


def _match(ranges: dict[str, Seconds], name: str) -> Seconds | None:
    return next((seconds for pattern, seconds in ranges.items() if fnmatchcase(name, pattern)), None)


def object_path(root: Path, key: str) -> Path:
    """Path of a completed object. The sandbox creates all keys, so a client cannot choose the path."""
    return root / "objects" / key.replace("/", "_")
