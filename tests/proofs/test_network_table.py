"""Endpoint × fault → how a whole batch ends. Each row runs end to end against a sandbox of its own, all side by side."""

from __future__ import annotations

import asyncio
import gc
import gzip
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import pytest

from synthdub_tui.jobs.transitions import observation
from synthdub_tui.runner import poller as poller_module
from synthdub_tui.sandbox.config import Fault
from synthdub_tui.sandbox.http_server import Request, Response, ResponseDelivery
from synthdub_tui.synthesia import client as client_module
from synthdub_tui.synthesia import outcomes as outcomes_module
from synthdub_tui.synthesia.client import CallRecord
from synthdub_tui.synthesia.rate_gate import Endpoint
from synthdub_tui.transfer import upload as upload_module
from tests.proofs.sandbox_scene import PAID_ENDPOINTS, ChangeResponse, RunningBatch, running_batch, until
from tests.waiting import scale_timeout

MAX_PARALLEL_BATCHES: Final = 16
"""Batches side by side."""

CREATE_ASSET, GET_ASSET = "POST /v2/assets", "GET /v2/assets/{id}"
CREATE_DUBBING, GET_DUBBING, ADD_LOCALES = "POST /v2/dubbing", "GET /v2/dubbing/{id}", "PUT /v2/dubbing/{id}"
API_ENDPOINTS = (CREATE_ASSET, GET_ASSET, CREATE_DUBBING, GET_DUBBING, ADD_LOCALES)
STORAGE_ENDPOINTS = ("S3 PutObject", "S3 CreateMultipartUpload", "S3 UploadPart", "S3 CompleteMultipartUpload")
FILE_ENDPOINTS = ("download", "captions")


class ExpectedEnd(StrEnum):
    """What is expected of a batch."""

    PASSES = "passes"  # it gets over the fault by itself, while that lasts or after it has passed
    WAITS = "waits"  # held up while the fault lasts; goes on by itself when it is gone
    FAILS = "fails"  # the dubs fail; when the fault is gone the next start brings them all home
    REFUSED = "refused"  # the service said no: the dubs fail, and only a retry by the user sends again
    LOST = "lost"  # the dubs fail, and only a retry that costs would help
    UNKNOWN = "unknown"  # only the user can decide
    HALTS = "halts"  # everything stops until the key was checked again, or the user says that the account is well


@dataclass(frozen=True)
class FaultCase:
    """`code`: the problem told meanwhile (waits, halts, and where known passes), or the dubs' failure."""

    endpoint: str
    name: str
    end: ExpectedEnd
    code: str = ""
    faults: tuple[Fault, ...] = ()
    tamper: ChangeResponse | None = None
    refuse: bool = False
    hasty: bool = False
    posts: int = 1  # new projects that are right
    orphans: bool = False  # the id of a multipart upload never reached us: only the storage can clean up

    def __str__(self) -> str:
        return f"{self.endpoint.replace('/v2/', '').replace('/{id}', ' id')}: {self.name} {self.end}"


@dataclass
class CaseOutcome:
    """What became of a row's batch."""

    was_held_up: bool = False  # it was held up, with the problem told, until the fault was cleared
    shown_problems: set[str] = field(default_factory=set)  # problems of the batch that were told meanwhile
    first_states: dict[str, str] = field(
        default_factory=dict
    )  # with the fault in force, or after it was gone if it was held up
    states_after_restart: dict[str, str] = field(default_factory=dict)  # after what the next start takes up
    states_after_retry: dict[str, str] = field(default_factory=dict)  # after a retry by the user, of what was refused
    request_count: int = 0  # requests of the row's kind, until after the next start
    problem: str = ""  # of the batch, at the end
    open_uploads: list[str] = field(default_factory=list)
    fault_count: int = 0
    error: BaseException | None = None


# -- the rows ----------------------------------------------------------------------------------------------------------


def one_fault(endpoint: str, kind: Any, **more: Any) -> tuple[Fault, ...]:
    return (Fault(endpoint, kind, **more),)


def status_fault(endpoint: str, number: int, body: str = "<h1>Oops</h1>", **more: Any) -> tuple[Fault, ...]:
    kind = "application/json" if body.startswith("{") else "text/html"
    return one_fault(endpoint, "status", status=number, body=body, **{"content_type": kind} | more)


def gzip_response(_: Request, response: Response) -> Response:
    body = gzip.compress(b"".join(response.pieces()))
    return replace(response, body=body, headers=(*response.headers, ("Content-Encoding", "gzip")))


def label_as_brotli(_: Request, response: Response) -> Response:
    return replace(response, headers=(*response.headers, ("Content-Encoding", "br")))


def understate_length(_: Request, response: Response) -> Response:
    """More bytes than Content-Length says."""
    headers = (*response.headers, ("Content-Length", str(response.size - 3)))
    return replace(response, headers=headers, delivery=ResponseDelivery(with_length=False))


def api_cases(endpoint: str) -> Iterator[FaultCase]:
    """What holds for every endpoint of the API, by what is known of a call whose answer is lost."""

    def lost(name: str, code: str, faults: tuple[Fault, ...] = (), *, arrived: bool, **more: Any) -> FaultCase:
        if endpoint == ADD_LOCALES and arrived:
            return FaultCase(
                endpoint, name, ExpectedEnd.PASSES, "", faults, **more
            )  # the project itself shows that it was accepted
        if endpoint in PAID_ENDPOINTS:
            return FaultCase(endpoint, name, ExpectedEnd.UNKNOWN, "submission_unknown", faults, **more)
        return FaultCase(endpoint, name, ExpectedEnd.WAITS, code, faults, **more)

    gone, down, odd = "service_unreachable", "service_down", "service_answer"
    yield FaultCase(endpoint, "refused", ExpectedEnd.WAITS, gone, refuse=True)
    yield lost("reset before", gone, one_fault(endpoint, "reset_before"), arrived=False)
    yield lost("reset after", gone, one_fault(endpoint, "reset_after"), arrived=True)
    yield lost("reset during", gone, one_fault(endpoint, "reset_during", after_bytes=5), arrived=True)
    yield lost("truncated", gone, one_fault(endpoint, "truncate", after_bytes=5), arrived=True)
    yield lost("truncated in silence", odd, one_fault(endpoint, "truncate_silently", after_bytes=5), arrived=True)
    yield lost("hangs before", gone, one_fault(endpoint, "hang_before"), arrived=False, hasty=True)
    yield lost("hangs after", gone, one_fault(endpoint, "hang_after"), arrived=True, hasty=True)
    yield lost("drips for ever", gone, one_fault(endpoint, "slow", bytes_per_second=4), arrived=True, hasty=True)
    yield FaultCase(endpoint, "slow", ExpectedEnd.PASSES, "", one_fault(endpoint, "slow", bytes_per_second=600, count=1))
    yield FaultCase(
        endpoint, "no Content-Length", ExpectedEnd.PASSES, "", one_fault(endpoint, "truncate_silently", after_bytes=10**9)
    )
    yield lost("Content-Length too short", odd, arrived=True, tamper=understate_length)
    yield FaultCase(endpoint, "gzip unasked", ExpectedEnd.PASSES, tamper=gzip_response)
    yield lost("encoding unknown", odd, arrived=True, tamper=label_as_brotli)
    for number in (500, 502, 503, 504):
        yield lost(f"{number} HTML", down, status_fault(endpoint, number), arrived=False)
    yield lost("503 JSON", down, status_fault(endpoint, 503, '{"error": "no"}'), arrived=False)
    yield lost("200 HTML", down, one_fault(endpoint, "body", body="<html>Sign in</html>"), arrived=True)
    yield lost("200 HTML, not processed", down, status_fault(endpoint, 200), arrived=False)
    bodies = ("{}", "", '{"hello": ', '"' + "x" * 5_000_000 + '"')
    for body in (*bodies, "[]", "null", "[" * 100_000) if endpoint == GET_DUBBING else bodies:
        wrong = one_fault(endpoint, "body", body=body, content_type="application/json")
        yield lost(f"200 with {body[:10] or 'nothing'} {len(body)}", odd, wrong, arrived=True)
    yield from rate_limit_cases(endpoint)
    yield FaultCase(
        endpoint, "401", ExpectedEnd.HALTS, "key_rejected", status_fault(endpoint, 401, '{"error": "Unauthorized"}')
    )
    yield FaultCase(
        endpoint, "403 JSON", ExpectedEnd.HALTS, "key_rejected", status_fault(endpoint, 403, '{"error": "Forbidden"}')
    )
    yield from page_cases(endpoint)
    if endpoint in (CREATE_ASSET, *PAID_ENDPOINTS):
        for number in (402, 403):
            words = '{"error": "Forbidden", "context": "Not enough credits left"}'
            yield FaultCase(
                endpoint, f"{number} credits", ExpectedEnd.HALTS, "account_refused", status_fault(endpoint, number, words)
            )


def page_cases(endpoint: str) -> Iterator[FaultCase]:
    """Refusals that are not in the API's words: whoever sends them may stand behind a service that has accepted."""
    if endpoint in PAID_ENDPOINTS:
        yield FaultCase(endpoint, "redirect", ExpectedEnd.UNKNOWN, "submission_unknown", redirect_fault(endpoint))
        for number in (402, 403, 404, 405, 408, 410, 425, 501):
            yield FaultCase(
                endpoint, f"{number} HTML", ExpectedEnd.UNKNOWN, "submission_unknown", status_fault(endpoint, number)
            )
        for number in (405, 408, 410, 425, 501):  # the API's form, with a status that is none of its refusals
            yield FaultCase(
                endpoint,
                f"{number} JSON",
                ExpectedEnd.UNKNOWN,
                "submission_unknown",
                status_fault(endpoint, number, '{"error": "no"}'),
            )
        page = status_fault(endpoint, 429, headers={"Retry-After": "1"})
        yield FaultCase(endpoint, "429 HTML with Retry-After", ExpectedEnd.UNKNOWN, "submission_unknown", page)
        return
    if endpoint == CREATE_ASSET:
        yield FaultCase(endpoint, "402 HTML", ExpectedEnd.HALTS, "account_refused", status_fault(endpoint, 402))
    yield FaultCase(endpoint, "403 HTML", ExpectedEnd.WAITS, "service_down", status_fault(endpoint, 403))
    yield FaultCase(endpoint, "404 HTML", ExpectedEnd.WAITS, "service_answer", status_fault(endpoint, 404))
    yield FaultCase(endpoint, "408", ExpectedEnd.WAITS, "service_down", status_fault(endpoint, 408))
    yield FaultCase(endpoint, "425", ExpectedEnd.WAITS, "service_down", status_fault(endpoint, 425))


def rate_limit_cases(endpoint: str) -> Iterator[FaultCase]:
    """429 in each form; the struck calls certainly did not arrive."""
    forms = [(header, form) for header in ("RateLimit-Reset", "Retry-After") for form in ("seconds", "epoch", "date")]
    for header, form in forms if endpoint in (GET_DUBBING, CREATE_DUBBING) else forms[::3]:
        faults = one_fault(endpoint, "rate_limit", count=2, seconds=0.2, header=header, form=form)
        yield FaultCase(endpoint, f"429 {header} {form}", ExpectedEnd.PASSES, "rate_limited", faults)
    yield FaultCase(
        endpoint, "429 bare", ExpectedEnd.PASSES, "rate_limited", one_fault(endpoint, "rate_limit", count=2, header="none")
    )
    hour_ahead = formatdate(time.time() + 3600, usegmt=True)
    odd = {
        "429, clock an hour off": {"Date": hour_ahead, "RateLimit-Reset": str(int(time.time() + 3600))},
        "429 dated, clock an hour off": {"Date": hour_ahead, "Retry-After": hour_ahead},
        "429 with junk": {"Retry-After": "soon", "RateLimit-Reset": "-5"},
    }
    for name, headers in odd.items():
        faults = status_fault(endpoint, 429, '{"message": "Too many requests"}', count=2, headers=headers)
        yield FaultCase(endpoint, name, ExpectedEnd.PASSES, "rate_limited", faults)


def changed_response_case(endpoint: str, name: str, end: ExpectedEnd, code: str = "", **fields: Any) -> FaultCase:
    return FaultCase(endpoint, name, end, code, one_fault(endpoint, "change", **fields))


def special_cases() -> Iterator[FaultCase]:
    """Where the endpoints differ: fields, statuses, refusals, redirects."""
    # Redirects are never followed: the key must not go anywhere else.
    yield FaultCase(CREATE_ASSET, "redirect", ExpectedEnd.REFUSED, "service_answer", redirect_fault(CREATE_ASSET))
    for endpoint in (GET_ASSET, GET_DUBBING):
        yield FaultCase(endpoint, "redirect", ExpectedEnd.WAITS, "service_answer", redirect_fault(endpoint))

    for drop in ("id", "uploadCredentials", "uploadCredentials.sessionToken", "uploadCredentials.bucket"):
        yield changed_response_case(CREATE_ASSET, f"without {drop}", ExpectedEnd.WAITS, "service_answer", drop=(drop,))
    yield changed_response_case(
        CREATE_ASSET, "without uploadUrl, with more", ExpectedEnd.PASSES, drop=("uploadUrl",), set={"new": {"a": [1]}}
    )
    yield FaultCase(
        CREATE_ASSET, "400", ExpectedEnd.REFUSED, "request_refused", status_fault(CREATE_ASSET, 400, '{"error": "no"}')
    )
    yield FaultCase(CREATE_ASSET, "415", ExpectedEnd.REFUSED, "media_type", status_fault(CREATE_ASSET, 415, '{"error": "no"}'))

    yield changed_response_case(GET_ASSET, "without status", ExpectedEnd.WAITS, "service_answer", drop=("status",))
    yield changed_response_case(GET_ASSET, "status new to us", ExpectedEnd.WAITS, set={"status": "quantum"})
    yield changed_response_case(
        GET_ASSET, "nothing but status", ExpectedEnd.PASSES, drop=("id", "title", "contentType", "metadata", "errorCode")
    )
    yield changed_response_case(
        GET_ASSET, "error", ExpectedEnd.REFUSED, "asset_upload", set={"status": "error", "errorCode": "asset_upload"}
    )
    yield changed_response_case(
        GET_ASSET, "error new to us", ExpectedEnd.REFUSED, "asset_unknown_error", set={"status": "error", "errorCode": "x"}
    )
    yield FaultCase(
        GET_ASSET, "404", ExpectedEnd.FAILS, "asset_not_uploaded", status_fault(GET_ASSET, 404, '{"error": "Not Found"}')
    )

    yield changed_response_case(
        CREATE_DUBBING, "without the project", ExpectedEnd.UNKNOWN, "submission_unknown", drop=("createdImportedAsset",)
    )
    yield changed_response_case(
        CREATE_DUBBING, "without its id", ExpectedEnd.UNKNOWN, "submission_unknown", drop=("createdImportedAsset.id",)
    )
    yield changed_response_case(
        CREATE_DUBBING, "id that is a path", ExpectedEnd.UNKNOWN, "submission_unknown", set={"createdImportedAsset.id": "../x"}
    )
    yield FaultCase(
        CREATE_DUBBING, "400", ExpectedEnd.REFUSED, "request_refused", status_fault(CREATE_DUBBING, 400, '{"error": "no"}')
    )
    yield FaultCase(
        CREATE_DUBBING,
        "404",
        ExpectedEnd.REFUSED,
        "asset_not_found",
        status_fault(CREATE_DUBBING, 404, '{"error": "Not Found"}'),
    )
    broken = status_fault(CREATE_DUBBING, 400, '{"error": "BrokenAssetUrlError"}')
    yield FaultCase(CREATE_DUBBING, "asset broken once", ExpectedEnd.PASSES, "", (replace_fault_count(broken[0], 1),))
    yield FaultCase(CREATE_DUBBING, "asset always broken", ExpectedEnd.REFUSED, "BrokenAssetUrlError", broken)

    yield changed_response_case(ADD_LOCALES, "without createdDubbedAssets", ExpectedEnd.PASSES, drop=("createdDubbedAssets",))
    yield changed_response_case(
        ADD_LOCALES, "without anything", ExpectedEnd.PASSES, drop=("createdDubbedAssets", "dubbedErrors")
    )
    yield changed_response_case(
        ADD_LOCALES, "language nobody asked for", ExpectedEnd.PASSES, set={"createdDubbedAssets.*.language": "xx-XX"}
    )
    yield FaultCase(
        ADD_LOCALES, "400", ExpectedEnd.REFUSED, "request_refused", status_fault(ADD_LOCALES, 400, '{"error": "no"}')
    )
    gone = status_fault(ADD_LOCALES, 404, '{"error": "no"}')
    yield FaultCase(ADD_LOCALES, "404 JSON leads to a new project", ExpectedEnd.PASSES, "", gone, posts=2)

    listed = "dubbedAssets.*."
    yield changed_response_case(GET_DUBBING, "without dubbedAssets", ExpectedEnd.WAITS, drop=("dubbedAssets",))
    yield changed_response_case(GET_DUBBING, "without download", ExpectedEnd.WAITS, drop=(f"{listed}download",))
    yield changed_response_case(
        GET_DUBBING,
        "without captions, thumbnail, ids",
        ExpectedEnd.PASSES,
        drop=(f"{listed}captions", f"{listed}thumbnail", f"{listed}id"),
    )
    yield changed_response_case(GET_DUBBING, "without any status", ExpectedEnd.PASSES, drop=("status", f"{listed}status"))
    yield changed_response_case(
        GET_DUBBING, "statuses new to us", ExpectedEnd.WAITS, set={"status": "quantum", f"{listed}status": "quantum"}
    )
    yield changed_response_case(
        GET_DUBBING, "languages nobody asked for", ExpectedEnd.WAITS, set={f"{listed}language": "xx-XX"}
    )
    for address in ("file:///etc/passwd", "ftp://127.0.0.1/x", "javascript:alert(1)", 17, "http://", "//127.0.0.1/x"):
        yield changed_response_case(GET_DUBBING, f"download {address}", ExpectedEnd.WAITS, set={f"{listed}download": address})
    project_error = {"status": "error", "errorCode": "brand_new_code"}
    unfinished = {**project_error, f"{listed}status": "processing"}
    yield changed_response_case(GET_DUBBING, "project error new to us", ExpectedEnd.LOST, "brand_new_code", set=unfinished)
    yield changed_response_case(
        GET_DUBBING,
        "project error, language complete",
        ExpectedEnd.PASSES,
        set={**project_error, f"{listed}status": "complete"},
    )
    yield changed_response_case(
        GET_DUBBING, "language error without a code", ExpectedEnd.LOST, "processing_error", set={f"{listed}status": "error"}
    )
    yield FaultCase(
        GET_DUBBING,
        "404 lasting",
        ExpectedEnd.FAILS,
        "project_not_found",
        status_fault(GET_DUBBING, 404, '{"error": "Not Found"}'),
    )
    yield FaultCase(
        GET_DUBBING,
        "404 for a moment",
        ExpectedEnd.PASSES,
        "",
        status_fault(GET_DUBBING, 404, '{"error": "Not Found"}', count=2),
    )


def redirect_fault(endpoint: str, number: int = 307) -> tuple[Fault, ...]:
    return status_fault(endpoint, number, headers={"Location": "http://localhost:9/stolen"})


def replace_fault_count(one: Fault, count: int) -> Fault:
    import msgspec

    return msgspec.structs.replace(one, count=count)


def s3_error_body(code: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'


def storage_cases(endpoint: str) -> Iterator[FaultCase]:
    """Uploads cost nothing: what may pass is repeated, then with a new asset; a bounded number of times."""
    passing = {
        "reset before": one_fault(endpoint, "reset_before", count=2),
        "reset after": one_fault(endpoint, "reset_after", count=2),
        "reset during": one_fault(endpoint, "reset_during", count=1, after_bytes=5),
        "slow": one_fault(endpoint, "slow", count=1, bytes_per_second=600),
        "no Content-Length": one_fault(endpoint, "truncate_silently", after_bytes=10**9),
        "500 HTML": status_fault(endpoint, 500, count=2),
        "502 HTML": status_fault(endpoint, 502, count=2),
        "503 HTML": status_fault(endpoint, 503, count=2),
        "429": one_fault(endpoint, "rate_limit", count=2, seconds=0),
        "SlowDown": status_fault(endpoint, 503, s3_error_body("SlowDown"), count=3, content_type="application/xml"),
        "200 with an error": one_fault(
            endpoint, "body", count=1, body=s3_error_body("InternalError"), content_type="application/xml"
        ),
        "ExpiredToken once": status_fault(
            endpoint, 400, s3_error_body("ExpiredToken"), count=1, content_type="application/xml"
        ),
    }
    unheard = {"reset after", "reset during", "200 with an error"} if endpoint == "S3 CreateMultipartUpload" else set()
    for name, faults in passing.items():
        yield FaultCase(endpoint, name, ExpectedEnd.PASSES, "", faults, orphans=name in unheard)
    hang = one_fault(endpoint, "hang_before", count=1)
    yield FaultCase(endpoint, "hangs once", ExpectedEnd.PASSES, "", hang, hasty=True)
    lasting = {
        "always reset": ("upload_failed", one_fault(endpoint, "reset_before")),
        "always 500": ("upload_failed", status_fault(endpoint, 500)),
        "always denied": (
            "upload_denied",
            status_fault(endpoint, 403, s3_error_body("AccessDenied"), content_type="application/xml"),
        ),
        "always redirected": ("upload_region", redirect_fault(endpoint)),
        "redirected for good": ("upload_region", redirect_fault(endpoint, 301)),
        "always 200 HTML, not processed": ("upload_failed", status_fault(endpoint, 200)),
    }
    for name, (code, faults) in lasting.items():
        yield FaultCase(endpoint, name, ExpectedEnd.FAILS, code, faults)


def file_cases(endpoint: str) -> Iterator[FaultCase]:
    """Downloads are repeated, continued, and with a fresh address where one ran out; a bounded number of times."""
    code = "download_failed" if endpoint == "download" else "captions_failed"
    passing = {
        "reset before": one_fault(endpoint, "reset_before", count=2),
        "reset after": one_fault(endpoint, "reset_after", count=2),
        "reset during": one_fault(endpoint, "reset_during", count=2, after_bytes=100),
        "truncated": one_fault(endpoint, "truncate", count=2, after_bytes=100),
        "slow": one_fault(endpoint, "slow", count=1, bytes_per_second=100_000),
        "expired 403": status_fault(endpoint, 403, count=1),
        "expired 400": status_fault(endpoint, 400, count=1),
        "gone 404": status_fault(endpoint, 404, count=1),
        "500 HTML": status_fault(endpoint, 500, count=2),
        "502 HTML": status_fault(endpoint, 502, count=2),
        "503 HTML": status_fault(endpoint, 503, count=2),
        "429 seconds": status_fault(endpoint, 429, count=2, headers={"Retry-After": "0"}),
        "429 date": status_fault(endpoint, 429, count=1, headers={"Retry-After": formatdate(0, usegmt=True)}),
        "429 bare": status_fault(endpoint, 429, count=1),
        "200 HTML": one_fault(endpoint, "body", count=1, body="<html>Sign in</html>"),
        "chunked": one_fault(endpoint, "chunked"),
        "never a length": one_fault(endpoint, "truncate_silently", after_bytes=10**9),
        "truncated in silence": one_fault(endpoint, "truncate_silently", after_bytes=100, count=2),
    }
    for name, faults in passing.items():
        yield FaultCase(endpoint, name, ExpectedEnd.PASSES, "", faults)
    yield FaultCase(endpoint, "hangs once", ExpectedEnd.PASSES, "", one_fault(endpoint, "hang_before", count=1), hasty=True)
    lasting = {
        "always reset": one_fault(endpoint, "reset_before"),
        "always 503": status_fault(endpoint, 503),
        "always expired": status_fault(endpoint, 403),
        "always HTML": one_fault(endpoint, "body", body="<html>Sign in</html>"),
        "redirected in circles": status_fault(endpoint, 302, headers={"Location": "/elsewhere"}),
        "redirected to nobody": redirect_fault(endpoint),
    }
    for name, faults in lasting.items():
        yield FaultCase(endpoint, name, ExpectedEnd.FAILS, code, faults)
    yield FaultCase(endpoint, "gzip unasked", ExpectedEnd.PASSES, tamper=gzip_response)
    yield FaultCase(endpoint, "encoding unknown", ExpectedEnd.FAILS, code, tamper=label_as_brotli)
    inside = status_fault(endpoint, 302, headers={"Location": "file:///etc/passwd"})
    yield FaultCase(endpoint, "redirected to a file", ExpectedEnd.FAILS, "download_address", inside)


CASES: Final = [
    *(row for endpoint in API_ENDPOINTS for row in api_cases(endpoint)),
    *special_cases(),
    *(row for endpoint in STORAGE_ENDPOINTS for row in storage_cases(endpoint)),
    *(row for endpoint in FILE_ENDPOINTS for row in file_cases(endpoint)),
]


# -- playing them ------------------------------------------------------------------------------------------------------

_PREVIOUS_ENDPOINT: Final = {
    CREATE_ASSET: None,
    GET_ASSET: Endpoint.CREATE_ASSET,
    CREATE_DUBBING: Endpoint.GET_ASSET,
    GET_DUBBING: Endpoint.CREATE_DUBBING,
    ADD_LOCALES: None,
}
"""After which call a row's endpoint is cut off, so that its connections are refused; None: right at the start."""


async def run_case(row: FaultCase, folder: Path) -> CaseOutcome:
    outcome = CaseOutcome()
    fast = {"processing_seconds": 0.0} if row.refuse else {}  # the first look finds the asset ready, and the cut comes after it
    try:
        async with (
            asyncio.timeout(scale_timeout(50)),
            running_batch(folder, hasty=row.endpoint if row.hasty else "", **fast) as stage,
        ):
            await _run_case(row, stage, outcome)
    except Exception as error:
        outcome.error = error
    return outcome


async def _run_case(row: FaultCase, stage: RunningBatch, outcome: CaseOutcome) -> None:
    video = stage.write_video(size=1_100_000 if "part" in row.endpoint.lower() else 2000)
    whole = row.endpoint in FILE_ENDPOINTS
    if row.endpoint in API_ENDPOINTS[1:]:
        stage.fake_uploads()
    if row.endpoint == ADD_LOCALES:
        await stage.add_videos(video, targets=("fr-FR",), captions=False)
        await stage.wait_until_idle()
    for each in row.faults:
        stage.sandbox.inject(each)
    original = stage.sandbox._api._handler, stage.sandbox._s3._handler
    if row.tamper is not None:
        stage.change_responses(row.endpoint, row.tamper)
    if row.refuse:
        _refuse_connections(row, stage)
    await stage.add_videos(
        video, targets=("fr-FR", "es-ES") if whole or row.endpoint == ADD_LOCALES else ("fr-FR",), captions=whole
    )

    def settled() -> bool:
        problem = stage.shown_problem
        outcome.shown_problems |= {problem} - {""}
        enough = row.refuse or stage.count_calls(row.endpoint) >= 2
        outcome.was_held_up = row.end is ExpectedEnd.WAITS and problem == row.code and enough and not stage.runner.idle.is_set()
        return outcome.was_held_up or stage.runner.idle.is_set() or stage.runner.halted.is_set()

    await until(settled)
    outcome.fault_count = sum(bool(record.fault) for record in stage.sandbox.journal if record.endpoint == row.endpoint)
    if row.end is ExpectedEnd.HALTS:
        await until(stage.runner.idle.is_set)
        outcome.first_states = stage.dub_states()
    stage.sandbox.clear_faults()
    stage.sandbox._api._handler, stage.sandbox._s3._handler = original
    if row.refuse:
        await stage.restore(stage.sandbox._api)
    if stage.runner.halted.is_set():
        await stage.runner.switch_api_key(stage.sandbox.api_key)
    elif stage.runner.account_refusal is not None:
        await stage.runner.pause(False)
    await stage.wait_until_idle()
    if row.end is not ExpectedEnd.HALTS:
        outcome.first_states = stage.dub_states()
    stage.check_payments(row.posts)
    stage.check_outputs()
    await stage.retry_free()
    outcome.states_after_restart, outcome.request_count = stage.dub_states(), stage.count_calls(row.endpoint)
    if row.end is ExpectedEnd.REFUSED:
        await stage.retry_all_paid()
        outcome.states_after_retry = stage.dub_states()
        stage.check_payments(row.posts + 1)  # which may make a new project
    outcome.problem = stage.shown_problem
    outcome.open_uploads = stage.open_uploads
    stage.check_outputs()


def _refuse_connections(row: FaultCase, stage: RunningBatch) -> None:
    """Cut the API off as soon as the call before is answered."""
    before = _PREVIOUS_ENDPOINT[row.endpoint]
    if before is None:
        stage.cut_off(stage.sandbox._api)
        return
    tell = stage.runner.client._on_call
    assert tell is not None

    def noticed(record: CallRecord) -> None:
        tell(record)
        if record.endpoint is before and record.status // 100 == 2:
            stage.runner.client._on_call = tell
            stage.cut_off(stage.sandbox._api)

    stage.runner.client._on_call = noticed


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, CaseOutcome]:
    """All rows that this session asks for, played side by side."""
    wanted = {item.callspec.params["row"] for item in request.session.items if "outcomes" in getattr(item, "fixturenames", ())}
    rows = [row for index, row in enumerate(CASES) if index in wanted]
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(dir=memory)) if os.access(memory, os.W_OK) else tmp_path_factory.mktemp("table")
    request.addfinalizer(lambda: shutil.rmtree(root))

    async def play_all() -> list[CaseOutcome]:
        slots = asyncio.Semaphore(MAX_PARALLEL_BATCHES)

        async def one(number: int, row: FaultCase) -> CaseOutcome:
            async with slots:
                return await run_case(row, root / str(number))

        return await asyncio.gather(*(one(number, row) for number, row in enumerate(rows)))

    with pytest.MonkeyPatch.context() as patch:
        for module in (client_module, outcomes_module):  # the gate's pause, and the request's own wait
            patch.setattr(module, "DEFAULT_WAIT_SECONDS", 0.2)
        patch.setattr(observation, "UNKNOWN_PUT_GRACE_SECONDS", 0.3)
        patch.setattr(upload_module, "MULTIPART_THRESHOLD_BYTES", 1_000_000)
        gc.disable()  # for a minute; it would look through all of pytest's objects again and again
        request.addfinalizer(gc.enable)
        patch.setattr(poller_module, "MAX_BACKOFF_SECONDS", 1.0)
        return dict(zip(map(str, rows), asyncio.run(play_all()), strict=True))


@pytest.mark.parametrize("row", range(len(CASES)), ids=[str(row) for row in CASES])
def test_fault_case(row: int, outcomes: dict[str, CaseOutcome]) -> None:
    wanted = CASES[row]
    outcome = outcomes[str(wanted)]
    assert outcome.error is None, (outcome.error, outcome)
    states = set(outcome.first_states.values()) if wanted.endpoint != ADD_LOCALES else {outcome.first_states["es-ES"]}
    match wanted.end:
        case ExpectedEnd.PASSES:
            assert states == {"done"}, outcome
            assert not wanted.code or wanted.code in outcome.shown_problems, outcome
        case ExpectedEnd.WAITS:
            assert outcome.was_held_up, outcome
            assert states == {"done"}, outcome
        case ExpectedEnd.FAILS if wanted.endpoint == "captions":  # without which the video is done all the same
            assert states == {"done captions_failed"}, outcome
        case ExpectedEnd.FAILS | ExpectedEnd.REFUSED | ExpectedEnd.LOST:
            assert states == {f"failed {wanted.code}"}, outcome
        case ExpectedEnd.UNKNOWN:
            assert states == {f"unknown {wanted.code}"}, outcome
            assert outcome.request_count == 1, "what may have been accepted was sent again"
        case ExpectedEnd.HALTS:
            assert wanted.code in outcome.shown_problems, outcome
            assert not {state.partition(" ")[0] for state in states} & {"failed", "unknown", "done"}, outcome
    if wanted.end in (ExpectedEnd.UNKNOWN, ExpectedEnd.REFUSED, ExpectedEnd.LOST):
        assert outcome.states_after_restart == outcome.first_states, outcome
    else:
        assert set(outcome.states_after_restart.values()) == {"done"}, outcome
    assert set(outcome.states_after_retry.values()) <= {"done"}, outcome
    assert wanted.refuse or wanted.tamper or outcome.fault_count, "the fault never struck"
    assert outcome.problem == "", outcome
    assert outcome.open_uploads == [] or wanted.orphans, outcome


def test_case_names_are_unique() -> None:
    assert len({str(row) for row in CASES}) == len(CASES)
