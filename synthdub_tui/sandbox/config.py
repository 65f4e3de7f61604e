"""The sandbox's behaviour: times, failures, faults, limits, expiry. Read from TOML or created in a test.

By default the sandbox behaves like the service in the API reference, in seconds instead of minutes. If the reference does not
define a behaviour, the field's comment says so: the service may behave differently.
"""

from __future__ import annotations

import re
import tomllib
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from synthdub_tui.errors import SynthdubError

ENDPOINTS: Final = (
    "POST /v2/assets",
    "GET /v2/assets/{id}",
    "POST /v2/dubbing",
    "GET /v2/dubbing/{id}",
    "PUT /v2/dubbing/{id}",
    "S3 CreateMultipartUpload",
    "S3 UploadPart",
    "S3 ListParts",
    "S3 ListMultipartUploads",
    "S3 CompleteMultipartUpload",
    "S3 AbortMultipartUpload",
    "S3 PutObject",
    "S3 HeadObject",
    "download",
    "captions",
    "thumbnail",
)
"""Names of requests in faults and limits. The last three are GETs of signed URLs."""

Seconds = tuple[float, float]
"""A range of seconds: least and most."""

FaultKind = Literal[
    "reset_before",  # nothing processed; RST after the request's head was read
    "reset_after",  # processed, then RST before the first byte of the answer
    "reset_during",  # RST after `after_bytes` of the answer's body
    "hang_before",  # nothing processed, nothing answered, for `seconds`; then closed
    "hang_after",  # processed, nothing answered, for `seconds`; then closed
    "delay",  # processed, answered after `seconds`
    "slow",  # the answer's body at `bytes_per_second`
    "chunked",  # the answer's body in chunks, without Content-Length
    "truncate",  # a clean close after `after_bytes` of the answer's body, fewer than Content-Length promised
    "truncate_silently",  # the same without Content-Length: only the close ends the body
    "status",  # nothing processed; `status` and `body`
    "rate_limit",  # nothing processed; 429 with `header` in `form`
    "body",  # processed; the answer's body replaced by `body` (wrong JSON, HTML)
    "change",  # processed; fields of the JSON answer dropped and set
]


class _Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Fault(_Base, frozen=True):
    """A fault that the sandbox injects into requests to an endpoint.

    It affects each matching request, or only the `nth` ones (from 1), or each with `probability`; at most `count` times.
    """

    endpoint: str  # a name of ENDPOINTS or a pattern such as "S3 *"
    kind: FaultKind
    path: str = "*"  # pattern; a download's path contains project and language: "*/fr-FR/*"
    nth: tuple[int, ...] = ()
    count: int | None = None
    probability: float = 1.0
    seconds: float = 3600.0
    after_bytes: int = 0
    bytes_per_second: float = 1000.0
    status: int = 503
    body: str = ""
    content_type: str = "text/html"
    headers: dict[str, str] = {}  # further headers, with "status"
    header: Literal["RateLimit-Reset", "Retry-After", "none"] = "RateLimit-Reset"
    form: Literal["seconds", "epoch", "date"] = "seconds"
    drop: tuple[str, ...] = ()  # dotted paths, `*` for each of a list: "dubbedAssets.*.download"
    set: dict[str, Any] = {}  # dotted path → value


class SimulatedFailure(_Base, frozen=True):
    """A failure of accepted work, or a refused language.

    `language`: the language ends in error with `code`. `project`: the whole project does. `refused`: a request for the
    language lists it in `dubbedErrors` (a POST then creates nothing). `missing`: accepted, but absent from the complete
    project. `asset`: the asset ends in error with `code` (`asset_upload`, `language_detect`, `unknown`).
    """

    kind: Literal["language", "project", "refused", "missing", "asset"] = "language"
    code: str = "processing_error"
    title: str = "*"  # pattern for the title of the project or of the asset
    languages: tuple[str, ...] = ("*",)  # patterns
    times: int | None = None  # how often it happens; None: always
    after: float | None = None  # seconds until it shows; None: at the time when the work would end


class EndpointRate(_Base, frozen=True):
    """Requests allowed to one endpoint in any minute, hour and day (sliding); None is unlimited."""

    minute: int | None = None
    hour: int | None = None
    day: int | None = None


TIERS: Final = {
    "none": (EndpointRate(), EndpointRate()),
    "creator": (EndpointRate(minute=60, hour=300, day=1000), EndpointRate(minute=60, day=20_000)),
    "enterprise-2": (EndpointRate(minute=80, hour=400, day=2000), EndpointRate(minute=80, day=40_000)),
    "enterprise-1": (EndpointRate(minute=120, hour=600, day=3000), EndpointRate(minute=120, day=80_000)),
}
"""Rates of writes and of reads, for each endpoint separately (the vendor's table)."""


class SandboxConfig(_Base, frozen=True):
    """All settings of the sandbox. Times in seconds, sizes in bytes."""

    api_key: str = "sandbox-key"
    style: Literal["reference", "guide"] = "reference"  # guide: COMPLETE, dubbedVideos, locale, downloadUrl, 401, 415
    seed: int = 1

    processing_seconds: float = 0.5  # of an asset, from upload to ready
    detected_language: str | None = "en"
    dubbing_seconds: Seconds = (2.0, 8.0)
    dubbing_seconds_by_language: dict[str, Seconds] = {}  # pattern → range
    dubbing_seconds_by_title: dict[str, Seconds] = {}  # pattern → range; takes precedence over the language's
    output_seconds: float = 4.0  # playing time of a dubbed video
    output_padding: int = 0  # bytes added to each dubbed video

    failures: tuple[SimulatedFailure, ...] = ()
    errors_count_as_added: bool = False  # whether PUT skips a language that ended in error; not documented
    faults: tuple[Fault, ...] = ()

    upload_credentials_seconds: float = 3600.0
    download_url_seconds: int = 3600

    tier: Literal["none", "creator", "enterprise-2", "enterprise-1"] = "none"
    limits: dict[str, EndpointRate] = {}  # endpoint name or pattern → rate; takes precedence over the tier's
    bandwidth_up: float | None = None  # bytes/s of all uploads together
    bandwidth_down: float | None = None  # bytes/s of all downloads together

    def __post_init__(self) -> None:
        for fault in self.faults:
            _known_endpoint(fault.endpoint)
        for pattern in self.limits:
            _known_endpoint(pattern)
        by_name = (*self.dubbing_seconds_by_language.values(), *self.dubbing_seconds_by_title.values())
        for low, high in (self.dubbing_seconds, *by_name):
            if not 0 <= low <= high:
                raise ValueError(f"dubbing_seconds: expected [least, most] with 0 ≤ least ≤ most, got [{low}, {high}]")


class ConfigError(SynthdubError):
    """A configuration file that cannot be used. The text gives the file, the line if known, and the expected value."""


def load_config(path: Path) -> SandboxConfig:
    """Read a TOML file. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return parse_config(text, str(path))


def parse_config(text: str, name: str = "<config>") -> SandboxConfig:
    """Decode TOML; errors call the text `name`. Raises ConfigError."""
    try:
        return msgspec.convert(tomllib.loads(text), SandboxConfig)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not valid TOML: {error}") from error
    except msgspec.ValidationError as error:
        said, _, where = str(error).partition(" - at ")
        where = where.strip("`")
        line = _line(text, where, said)
        place = f"{name}:{line}" if line else name
        raise ConfigError(f"{place}: {where.removeprefix('$.') or 'top level'}: {said}") from error


def _known_endpoint(pattern: str) -> None:
    if any(fnmatchcase(endpoint, pattern) for endpoint in ENDPOINTS):
        return
    near = get_close_matches(pattern, ENDPOINTS, n=1, cutoff=0)[0]
    raise ValueError(f"endpoint {pattern!r} is none of the sandbox's; did you mean {near!r}? All: {', '.join(ENDPOINTS)}")


def _line(text: str, where: str, said: str) -> int | None:
    """The line of a path such as `$.faults[1].kind`, found by its keys; None if no key is found."""
    unknown = re.search(r"unknown field `([^`]+)`", said)
    keys = re.findall(r"[\w-]+|\[\d+\]", where.removeprefix("$")) + ([unknown[1]] if unknown else [])
    lines = text.splitlines()
    at = -1
    for index, key in enumerate(keys):
        if key.startswith("["):
            header = re.compile(rf"\s*\[\[\s*{re.escape(keys[index - 1])}\s*\]\]")
            found = [number for number, line in enumerate(lines) if header.match(line)]
            at = found[int(key[1:-1])] if int(key[1:-1]) < len(found) else at
        else:
            pattern = re.compile(rf'\s*(\[+\s*)?"?{re.escape(key)}"?\s*(=|\])')
            at = next((number for number in range(max(at, 0), len(lines)) if pattern.match(lines[number])), at)
    return at + 1 if at >= 0 else None
