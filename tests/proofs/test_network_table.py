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
from synthdub_tui.sandbox.http_server import Delivery, Request, Response
from synthdub_tui.synthesia import client as client_module
from synthdub_tui.synthesia import outcomes as outcomes_module
from synthdub_tui.synthesia.client import CallRecord
from synthdub_tui.synthesia.rate_gate import Endpoint
from synthdub_tui.transfer import upload as upload_module
from tests.proofs.sandbox_scene import PAID, Scene, Tamper, scene, until
from tests.waiting import patience

AT_ONCE: Final = 16
"""Batches side by side."""

CREATE_ASSET, GET_ASSET = "POST /v2/assets", "GET /v2/assets/{id}"
CREATE, GET, PUT = "POST /v2/dubbing", "GET /v2/dubbing/{id}", "PUT /v2/dubbing/{id}"
API = (CREATE_ASSET, GET_ASSET, CREATE, GET, PUT)
STORAGE = ("S3 PutObject", "S3 CreateMultipartUpload", "S3 UploadPart", "S3 CompleteMultipartUpload")
FILES = ("download", "captions")


class End(StrEnum):
    """What is expected of a batch."""

    PASSES = "passes"  # it gets over the fault by itself, while that lasts or after it has passed
    WAITS = "waits"  # held up while the fault lasts; goes on by itself when it is gone
    FAILS = "fails"  # the dubs fail; when the fault is gone the next start brings them all home
    REFUSED = "refused"  # the service said no: the dubs fail, and only a retry by the user sends again
    LOST = "lost"  # the dubs fail, and only a retry that costs would help
    UNKNOWN = "unknown"  # only the user can decide
    HALTS = "halts"  # everything stops until the key was checked again, or the user says that the account is well


@dataclass(frozen=True)
class Row:
    """`code`: the problem told meanwhile (waits, halts, and where known passes), or the dubs' failure."""

    endpoint: str
    name: str
    end: End
    code: str = ""
    faults: tuple[Fault, ...] = ()
    tamper: Tamper | None = None
    refuse: bool = False
    hasty: bool = False
    posts: int = 1  # new projects that are right
    orphans: bool = False  # the id of a multipart upload never reached us: only the storage can clean up

    def __str__(self) -> str:
        return f"{self.endpoint.replace('/v2/', '').replace('/{id}', ' id')}: {self.name} {self.end}"


@dataclass
class Outcome:
    """What became of a row's batch."""

    held: bool = False  # it was held up, with the problem told, until the fault was cleared
    told: set[str] = field(default_factory=set)  # problems of the batch that were told meanwhile
    states: dict[str, str] = field(default_factory=dict)  # with the fault in force, or after it was gone if it was held up
    afterwards: dict[str, str] = field(default_factory=dict)  # after what the next start takes up
    retried: dict[str, str] = field(default_factory=dict)  # after a retry by the user, of what was refused
    sent: int = 0  # requests of the row's kind, until after the next start
    problem: str = ""  # of the batch, at the end
    orphans: list[str] = field(default_factory=list)
    strikes: int = 0
    error: BaseException | None = None


# -- the rows ----------------------------------------------------------------------------------------------------------


def fault(endpoint: str, kind: Any, **more: Any) -> tuple[Fault, ...]:
    return (Fault(endpoint, kind, **more),)


def status(endpoint: str, number: int, body: str = "<h1>Oops</h1>", **more: Any) -> tuple[Fault, ...]:
    kind = "application/json" if body.startswith("{") else "text/html"
    return fault(endpoint, "status", status=number, body=body, **{"content_type": kind} | more)


def gzipped(_: Request, response: Response) -> Response:
    body = gzip.compress(b"".join(response.pieces()))
    return replace(response, body=body, headers=(*response.headers, ("Content-Encoding", "gzip")))


def labelled(_: Request, response: Response) -> Response:
    return replace(response, headers=(*response.headers, ("Content-Encoding", "br")))


def lying(_: Request, response: Response) -> Response:
    """More bytes than Content-Length says."""
    headers = (*response.headers, ("Content-Length", str(response.size - 3)))
    return replace(response, headers=headers, delivery=Delivery(with_length=False))


def api_rows(endpoint: str) -> Iterator[Row]:
    """What holds for every endpoint of the API, by what is known of a call whose answer is lost."""

    def lost(name: str, code: str, faults: tuple[Fault, ...] = (), *, arrived: bool, **more: Any) -> Row:
        if endpoint == PUT and arrived:
            return Row(endpoint, name, End.PASSES, "", faults, **more)  # the project itself shows that it was accepted
        if endpoint in PAID:
            return Row(endpoint, name, End.UNKNOWN, "submission_unknown", faults, **more)
        return Row(endpoint, name, End.WAITS, code, faults, **more)

    gone, down, odd = "service_unreachable", "service_down", "service_answer"
    yield Row(endpoint, "refused", End.WAITS, gone, refuse=True)
    yield lost("reset before", gone, fault(endpoint, "reset_before"), arrived=False)
    yield lost("reset after", gone, fault(endpoint, "reset_after"), arrived=True)
    yield lost("reset during", gone, fault(endpoint, "reset_during", after_bytes=5), arrived=True)
    yield lost("truncated", gone, fault(endpoint, "truncate", after_bytes=5), arrived=True)
    yield lost("truncated in silence", odd, fault(endpoint, "truncate_silently", after_bytes=5), arrived=True)
    yield lost("hangs before", gone, fault(endpoint, "hang_before"), arrived=False, hasty=True)
    yield lost("hangs after", gone, fault(endpoint, "hang_after"), arrived=True, hasty=True)
    yield lost("drips for ever", gone, fault(endpoint, "slow", bytes_per_second=4), arrived=True, hasty=True)
    yield Row(endpoint, "slow", End.PASSES, "", fault(endpoint, "slow", bytes_per_second=600, count=1))
    yield Row(endpoint, "no Content-Length", End.PASSES, "", fault(endpoint, "truncate_silently", after_bytes=10**9))
    yield lost("Content-Length too short", odd, arrived=True, tamper=lying)
    yield Row(endpoint, "gzip unasked", End.PASSES, tamper=gzipped)
    yield lost("encoding unknown", odd, arrived=True, tamper=labelled)
    for number in (500, 502, 503, 504):
        yield lost(f"{number} HTML", down, status(endpoint, number), arrived=False)
    yield lost("503 JSON", down, status(endpoint, 503, '{"error": "no"}'), arrived=False)
    yield lost("200 HTML", down, fault(endpoint, "body", body="<html>Sign in</html>"), arrived=True)
    yield lost("200 HTML, not processed", down, status(endpoint, 200), arrived=False)
    bodies = ("{}", "", '{"hello": ', '"' + "x" * 5_000_000 + '"')
    for body in (*bodies, "[]", "null", "[" * 100_000) if endpoint == GET else bodies:
        wrong = fault(endpoint, "body", body=body, content_type="application/json")
        yield lost(f"200 with {body[:10] or 'nothing'} {len(body)}", odd, wrong, arrived=True)
    yield from limit_rows(endpoint)
    yield Row(endpoint, "401", End.HALTS, "key_rejected", status(endpoint, 401, '{"error": "Unauthorized"}'))
    yield Row(endpoint, "403 JSON", End.HALTS, "key_rejected", status(endpoint, 403, '{"error": "Forbidden"}'))
    yield from page_rows(endpoint)
    if endpoint in (CREATE_ASSET, *PAID):
        for number in (402, 403):
            words = '{"error": "Forbidden", "context": "Not enough credits left"}'
            yield Row(endpoint, f"{number} credits", End.HALTS, "account_refused", status(endpoint, number, words))


def page_rows(endpoint: str) -> Iterator[Row]:
    """Refusals that are not in the API's words: whoever sends them may stand behind a service that has accepted."""
    if endpoint in PAID:
        yield Row(endpoint, "redirect", End.UNKNOWN, "submission_unknown", redirect(endpoint))
        for number in (402, 403, 404, 405, 408, 410, 425, 501):
            yield Row(endpoint, f"{number} HTML", End.UNKNOWN, "submission_unknown", status(endpoint, number))
        for number in (405, 408, 410, 425, 501):  # the API's form, with a status that is none of its refusals
            yield Row(
                endpoint, f"{number} JSON", End.UNKNOWN, "submission_unknown", status(endpoint, number, '{"error": "no"}')
            )
        page = status(endpoint, 429, headers={"Retry-After": "1"})
        yield Row(endpoint, "429 HTML with Retry-After", End.UNKNOWN, "submission_unknown", page)
        return
    if endpoint == CREATE_ASSET:
        yield Row(endpoint, "402 HTML", End.HALTS, "account_refused", status(endpoint, 402))
    yield Row(endpoint, "403 HTML", End.WAITS, "service_down", status(endpoint, 403))
    yield Row(endpoint, "404 HTML", End.WAITS, "service_answer", status(endpoint, 404))
    yield Row(endpoint, "408", End.WAITS, "service_down", status(endpoint, 408))
    yield Row(endpoint, "425", End.WAITS, "service_down", status(endpoint, 425))


def limit_rows(endpoint: str) -> Iterator[Row]:
    """429 in each form; the struck calls certainly did not arrive."""
    forms = [(header, form) for header in ("RateLimit-Reset", "Retry-After") for form in ("seconds", "epoch", "date")]
    for header, form in forms if endpoint in (GET, CREATE) else forms[::3]:
        faults = fault(endpoint, "rate_limit", count=2, seconds=0.2, header=header, form=form)
        yield Row(endpoint, f"429 {header} {form}", End.PASSES, "rate_limited", faults)
    yield Row(endpoint, "429 bare", End.PASSES, "rate_limited", fault(endpoint, "rate_limit", count=2, header="none"))
    hour_ahead = formatdate(time.time() + 3600, usegmt=True)
    odd = {
        "429, clock an hour off": {"Date": hour_ahead, "RateLimit-Reset": str(int(time.time() + 3600))},
        "429 dated, clock an hour off": {"Date": hour_ahead, "Retry-After": hour_ahead},
        "429 with junk": {"Retry-After": "soon", "RateLimit-Reset": "-5"},
    }
    for name, headers in odd.items():
        faults = status(endpoint, 429, '{"message": "Too many requests"}', count=2, headers=headers)
        yield Row(endpoint, name, End.PASSES, "rate_limited", faults)


def changed(endpoint: str, name: str, end: End, code: str = "", **fields: Any) -> Row:
    return Row(endpoint, name, end, code, fault(endpoint, "change", **fields))


def special_rows() -> Iterator[Row]:
    """Where the endpoints differ: fields, statuses, refusals, redirects."""
    # Redirects are never followed: the key must not go anywhere else.
    yield Row(CREATE_ASSET, "redirect", End.REFUSED, "service_answer", redirect(CREATE_ASSET))
    for endpoint in (GET_ASSET, GET):
        yield Row(endpoint, "redirect", End.WAITS, "service_answer", redirect(endpoint))

    for drop in ("id", "uploadCredentials", "uploadCredentials.sessionToken", "uploadCredentials.bucket"):
        yield changed(CREATE_ASSET, f"without {drop}", End.WAITS, "service_answer", drop=(drop,))
    yield changed(CREATE_ASSET, "without uploadUrl, with more", End.PASSES, drop=("uploadUrl",), set={"new": {"a": [1]}})
    yield Row(CREATE_ASSET, "400", End.REFUSED, "request_refused", status(CREATE_ASSET, 400, '{"error": "no"}'))
    yield Row(CREATE_ASSET, "415", End.REFUSED, "media_type", status(CREATE_ASSET, 415, '{"error": "no"}'))

    yield changed(GET_ASSET, "without status", End.WAITS, "service_answer", drop=("status",))
    yield changed(GET_ASSET, "status new to us", End.WAITS, set={"status": "quantum"})
    yield changed(GET_ASSET, "nothing but status", End.PASSES, drop=("id", "title", "contentType", "metadata", "errorCode"))
    yield changed(GET_ASSET, "error", End.REFUSED, "asset_upload", set={"status": "error", "errorCode": "asset_upload"})
    yield changed(GET_ASSET, "error new to us", End.REFUSED, "asset_unknown_error", set={"status": "error", "errorCode": "x"})
    yield Row(GET_ASSET, "404", End.FAILS, "asset_not_uploaded", status(GET_ASSET, 404, '{"error": "Not Found"}'))

    yield changed(CREATE, "without the project", End.UNKNOWN, "submission_unknown", drop=("createdImportedAsset",))
    yield changed(CREATE, "without its id", End.UNKNOWN, "submission_unknown", drop=("createdImportedAsset.id",))
    yield changed(CREATE, "id that is a path", End.UNKNOWN, "submission_unknown", set={"createdImportedAsset.id": "../x"})
    yield Row(CREATE, "400", End.REFUSED, "request_refused", status(CREATE, 400, '{"error": "no"}'))
    yield Row(CREATE, "404", End.REFUSED, "asset_not_found", status(CREATE, 404, '{"error": "Not Found"}'))
    broken = status(CREATE, 400, '{"error": "BrokenAssetUrlError"}')
    yield Row(CREATE, "asset broken once", End.PASSES, "", (replace_count(broken[0], 1),))
    yield Row(CREATE, "asset always broken", End.REFUSED, "BrokenAssetUrlError", broken)

    yield changed(PUT, "without createdDubbedAssets", End.PASSES, drop=("createdDubbedAssets",))
    yield changed(PUT, "without anything", End.PASSES, drop=("createdDubbedAssets", "dubbedErrors"))
    yield changed(PUT, "language nobody asked for", End.PASSES, set={"createdDubbedAssets.*.language": "xx-XX"})
    yield Row(PUT, "400", End.REFUSED, "request_refused", status(PUT, 400, '{"error": "no"}'))
    gone = status(PUT, 404, '{"error": "no"}')
    yield Row(PUT, "404 JSON leads to a new project", End.PASSES, "", gone, posts=2)

    listed = "dubbedAssets.*."
    yield changed(GET, "without dubbedAssets", End.WAITS, drop=("dubbedAssets",))
    yield changed(GET, "without download", End.WAITS, drop=(f"{listed}download",))
    yield changed(
        GET, "without captions, thumbnail, ids", End.PASSES, drop=(f"{listed}captions", f"{listed}thumbnail", f"{listed}id")
    )
    yield changed(GET, "without any status", End.PASSES, drop=("status", f"{listed}status"))
    yield changed(GET, "statuses new to us", End.WAITS, set={"status": "quantum", f"{listed}status": "quantum"})
    yield changed(GET, "languages nobody asked for", End.WAITS, set={f"{listed}language": "xx-XX"})
    for address in ("file:///etc/passwd", "ftp://127.0.0.1/x", "javascript:alert(1)", 17, "http://", "//127.0.0.1/x"):
        yield changed(GET, f"download {address}", End.WAITS, set={f"{listed}download": address})
    project_error = {"status": "error", "errorCode": "brand_new_code"}
    unfinished = {**project_error, f"{listed}status": "processing"}
    yield changed(GET, "project error new to us", End.LOST, "brand_new_code", set=unfinished)
    yield changed(GET, "project error, language complete", End.PASSES, set={**project_error, f"{listed}status": "complete"})
    yield changed(GET, "language error without a code", End.LOST, "processing_error", set={f"{listed}status": "error"})
    yield Row(GET, "404 lasting", End.FAILS, "project_not_found", status(GET, 404, '{"error": "Not Found"}'))
    yield Row(GET, "404 for a moment", End.PASSES, "", status(GET, 404, '{"error": "Not Found"}', count=2))


def redirect(endpoint: str, number: int = 307) -> tuple[Fault, ...]:
    return status(endpoint, number, headers={"Location": "http://localhost:9/stolen"})


def replace_count(one: Fault, count: int) -> Fault:
    import msgspec

    return msgspec.structs.replace(one, count=count)


def s3_error(code: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'


def storage_rows(endpoint: str) -> Iterator[Row]:
    """Uploads cost nothing: what may pass is repeated, then with a new asset; a bounded number of times."""
    passing = {
        "reset before": fault(endpoint, "reset_before", count=2),
        "reset after": fault(endpoint, "reset_after", count=2),
        "reset during": fault(endpoint, "reset_during", count=1, after_bytes=5),
        "slow": fault(endpoint, "slow", count=1, bytes_per_second=600),
        "no Content-Length": fault(endpoint, "truncate_silently", after_bytes=10**9),
        "500 HTML": status(endpoint, 500, count=2),
        "502 HTML": status(endpoint, 502, count=2),
        "503 HTML": status(endpoint, 503, count=2),
        "429": fault(endpoint, "rate_limit", count=2, seconds=0),
        "SlowDown": status(endpoint, 503, s3_error("SlowDown"), count=3, content_type="application/xml"),
        "200 with an error": fault(endpoint, "body", count=1, body=s3_error("InternalError"), content_type="application/xml"),
        "ExpiredToken once": status(endpoint, 400, s3_error("ExpiredToken"), count=1, content_type="application/xml"),
    }
    unheard = {"reset after", "reset during", "200 with an error"} if endpoint == "S3 CreateMultipartUpload" else set()
    for name, faults in passing.items():
        yield Row(endpoint, name, End.PASSES, "", faults, orphans=name in unheard)
    hang = fault(endpoint, "hang_before", count=1)
    yield Row(endpoint, "hangs once", End.PASSES, "", hang, hasty=True)
    lasting = {
        "always reset": ("upload_failed", fault(endpoint, "reset_before")),
        "always 500": ("upload_failed", status(endpoint, 500)),
        "always denied": ("upload_denied", status(endpoint, 403, s3_error("AccessDenied"), content_type="application/xml")),
        "always redirected": ("upload_region", redirect(endpoint)),
        "redirected for good": ("upload_region", redirect(endpoint, 301)),
        "always 200 HTML, not processed": ("upload_failed", status(endpoint, 200)),
    }
    for name, (code, faults) in lasting.items():
        yield Row(endpoint, name, End.FAILS, code, faults)


def file_rows(endpoint: str) -> Iterator[Row]:
    """Downloads are repeated, continued, and with a fresh address where one ran out; a bounded number of times."""
    code = "download_failed" if endpoint == "download" else "captions_failed"
    passing = {
        "reset before": fault(endpoint, "reset_before", count=2),
        "reset after": fault(endpoint, "reset_after", count=2),
        "reset during": fault(endpoint, "reset_during", count=2, after_bytes=100),
        "truncated": fault(endpoint, "truncate", count=2, after_bytes=100),
        "slow": fault(endpoint, "slow", count=1, bytes_per_second=100_000),
        "expired 403": status(endpoint, 403, count=1),
        "expired 400": status(endpoint, 400, count=1),
        "gone 404": status(endpoint, 404, count=1),
        "500 HTML": status(endpoint, 500, count=2),
        "502 HTML": status(endpoint, 502, count=2),
        "503 HTML": status(endpoint, 503, count=2),
        "429 seconds": status(endpoint, 429, count=2, headers={"Retry-After": "0"}),
        "429 date": status(endpoint, 429, count=1, headers={"Retry-After": formatdate(0, usegmt=True)}),
        "429 bare": status(endpoint, 429, count=1),
        "200 HTML": fault(endpoint, "body", count=1, body="<html>Sign in</html>"),
        "chunked": fault(endpoint, "chunked"),
        "never a length": fault(endpoint, "truncate_silently", after_bytes=10**9),
        "truncated in silence": fault(endpoint, "truncate_silently", after_bytes=100, count=2),
    }
    for name, faults in passing.items():
        yield Row(endpoint, name, End.PASSES, "", faults)
    yield Row(endpoint, "hangs once", End.PASSES, "", fault(endpoint, "hang_before", count=1), hasty=True)
    lasting = {
        "always reset": fault(endpoint, "reset_before"),
        "always 503": status(endpoint, 503),
        "always expired": status(endpoint, 403),
        "always HTML": fault(endpoint, "body", body="<html>Sign in</html>"),
        "redirected in circles": status(endpoint, 302, headers={"Location": "/elsewhere"}),
        "redirected to nobody": redirect(endpoint),
    }
    for name, faults in lasting.items():
        yield Row(endpoint, name, End.FAILS, code, faults)
    yield Row(endpoint, "gzip unasked", End.PASSES, tamper=gzipped)
    yield Row(endpoint, "encoding unknown", End.FAILS, code, tamper=labelled)
    inside = status(endpoint, 302, headers={"Location": "file:///etc/passwd"})
    yield Row(endpoint, "redirected to a file", End.FAILS, "download_address", inside)


ROWS: Final = [
    *(row for endpoint in API for row in api_rows(endpoint)),
    *special_rows(),
    *(row for endpoint in STORAGE for row in storage_rows(endpoint)),
    *(row for endpoint in FILES for row in file_rows(endpoint)),
]


# -- playing them ------------------------------------------------------------------------------------------------------

_BEFORE: Final = {
    CREATE_ASSET: None,
    GET_ASSET: Endpoint.CREATE_ASSET,
    CREATE: Endpoint.GET_ASSET,
    GET: Endpoint.CREATE_DUBBING,
    PUT: None,
}
"""After which call a row's endpoint is cut off, so that its connections are refused; None: right at the start."""


async def play(row: Row, folder: Path) -> Outcome:
    outcome = Outcome()
    fast = {"processing_seconds": 0.0} if row.refuse else {}  # the first look finds the asset ready, and the cut comes after it
    try:
        async with asyncio.timeout(patience(50)), scene(folder, hasty=row.endpoint if row.hasty else "", **fast) as stage:
            await _play(row, stage, outcome)
    except Exception as error:
        outcome.error = error
    return outcome


async def _play(row: Row, stage: Scene, outcome: Outcome) -> None:
    video = stage.video(size=1_100_000 if "part" in row.endpoint.lower() else 2000)
    whole = row.endpoint in FILES
    if row.endpoint in API[1:]:
        stage.skip_uploads()
    if row.endpoint == PUT:
        await stage.add(video, targets=("fr-FR",), captions=False)
        await stage.ended()
    for each in row.faults:
        stage.sandbox.inject(each)
    original = stage.sandbox._api._handler, stage.sandbox._s3._handler
    if row.tamper is not None:
        stage.tamper(row.endpoint, row.tamper)
    if row.refuse:
        _refuse(row, stage)
    await stage.add(video, targets=("fr-FR", "es-ES") if whole or row.endpoint == PUT else ("fr-FR",), captions=whole)

    def settled() -> bool:
        problem = stage.problem
        outcome.told |= {problem} - {""}
        enough = row.refuse or stage.calls(row.endpoint) >= 2
        outcome.held = row.end is End.WAITS and problem == row.code and enough and not stage.runner.idle.is_set()
        return outcome.held or stage.runner.idle.is_set() or stage.runner.halted.is_set()

    await until(settled)
    outcome.strikes = sum(bool(record.fault) for record in stage.sandbox.journal if record.endpoint == row.endpoint)
    if row.end is End.HALTS:
        await until(stage.runner.idle.is_set)
        outcome.states = stage.states()
    stage.sandbox.clear_faults()
    stage.sandbox._api._handler, stage.sandbox._s3._handler = original
    if row.refuse:
        await stage.mend(stage.sandbox._api)
    if stage.runner.halted.is_set():
        await stage.runner.check_key(stage.sandbox.api_key)
    elif stage.runner.refusal is not None:
        await stage.runner.pause(False)
    await stage.ended()
    if row.end is not End.HALTS:
        outcome.states = stage.states()
    stage.check_bill(row.posts)
    stage.check_outputs()
    await stage.retry()
    outcome.afterwards, outcome.sent = stage.states(), stage.calls(row.endpoint)
    if row.end is End.REFUSED:
        await stage.retry_by_user()
        outcome.retried = stage.states()
        stage.check_bill(row.posts + 1)  # which may make a new project
    outcome.problem = stage.problem
    outcome.orphans = stage.orphans
    stage.check_outputs()


def _refuse(row: Row, stage: Scene) -> None:
    """Cut the API off as soon as the call before is answered."""
    before = _BEFORE[row.endpoint]
    if before is None:
        stage.cut(stage.sandbox._api)
        return
    tell = stage.runner.client._on_call
    assert tell is not None

    def noticed(record: CallRecord) -> None:
        tell(record)
        if record.endpoint is before and record.status // 100 == 2:
            stage.runner.client._on_call = tell
            stage.cut(stage.sandbox._api)

    stage.runner.client._on_call = noticed


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """All rows that this session asks for, played side by side."""
    wanted = {item.callspec.params["row"] for item in request.session.items if "outcomes" in getattr(item, "fixturenames", ())}
    rows = [row for index, row in enumerate(ROWS) if index in wanted]
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(dir=memory)) if os.access(memory, os.W_OK) else tmp_path_factory.mktemp("table")
    request.addfinalizer(lambda: shutil.rmtree(root))

    async def play_all() -> list[Outcome]:
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(number: int, row: Row) -> Outcome:
            async with slots:
                return await play(row, root / str(number))

        return await asyncio.gather(*(one(number, row) for number, row in enumerate(rows)))

    with pytest.MonkeyPatch.context() as patch:
        for module in (client_module, outcomes_module):  # the gate's pause, and the request's own wait
            patch.setattr(module, "DEFAULT_WAIT", 0.2)
        patch.setattr(observation, "UNKNOWN_GRACE", 0.3)
        patch.setattr(upload_module, "THRESHOLD", 1_000_000)
        gc.disable()  # for a minute; it would look through all of pytest's objects again and again
        request.addfinalizer(gc.enable)
        patch.setattr(poller_module, "BACK_OFF_LIMIT", 1.0)
        return dict(zip(map(str, rows), asyncio.run(play_all()), strict=True))


@pytest.mark.parametrize("row", range(len(ROWS)), ids=[str(row) for row in ROWS])
def test_row(row: int, outcomes: dict[str, Outcome]) -> None:
    wanted = ROWS[row]
    outcome = outcomes[str(wanted)]
    assert outcome.error is None, (outcome.error, outcome)
    states = set(outcome.states.values()) if wanted.endpoint != PUT else {outcome.states["es-ES"]}
    match wanted.end:
        case End.PASSES:
            assert states == {"done"}, outcome
            assert not wanted.code or wanted.code in outcome.told, outcome
        case End.WAITS:
            assert outcome.held, outcome
            assert states == {"done"}, outcome
        case End.FAILS if wanted.endpoint == "captions":  # without which the video is done all the same
            assert states == {"done captions_failed"}, outcome
        case End.FAILS | End.REFUSED | End.LOST:
            assert states == {f"failed {wanted.code}"}, outcome
        case End.UNKNOWN:
            assert states == {f"unknown {wanted.code}"}, outcome
            assert outcome.sent == 1, "what may have been accepted was sent again"
        case End.HALTS:
            assert wanted.code in outcome.told, outcome
            assert not {state.partition(" ")[0] for state in states} & {"failed", "unknown", "done"}, outcome
    if wanted.end in (End.UNKNOWN, End.REFUSED, End.LOST):
        assert outcome.afterwards == outcome.states, outcome
    else:
        assert set(outcome.afterwards.values()) == {"done"}, outcome
    assert set(outcome.retried.values()) <= {"done"}, outcome
    assert wanted.refuse or wanted.tamper or outcome.strikes, "the fault never struck"
    assert outcome.problem == "", outcome
    assert outcome.orphans == [] or wanted.orphans, outcome


def test_names_are_unique() -> None:
    assert len({str(row) for row in ROWS}) == len(ROWS)
