"""Every fault, as a client sees it, and whether the request behind it was processed."""

import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from synthdub_tui.sandbox import Fault
from tests.sandbox.conftest import Caller, Make

DUBBING = "POST /v2/dubbing"


def endpoints(caller: Caller, name: str) -> list[tuple[int, str]]:
    return [(record.status, record.fault) for record in caller.sandbox.journal if record.endpoint == name]


@pytest.mark.parametrize(
    ("kind", "billed", "error"),
    [
        ("reset_before", False, (httpx.ReadError, httpx.RemoteProtocolError)),
        ("reset_after", True, httpx.ReadError),
        ("reset_during", True, (httpx.ReadError, httpx.RemoteProtocolError)),
        ("truncate", True, httpx.RemoteProtocolError),
    ],
)
def test_broken_connections(caller: Caller, kind: Any, billed: bool, error: Any) -> None:
    asset = caller.uploaded()
    caller.sandbox.inject(Fault(DUBBING, kind, count=1, after_bytes=10))
    with pytest.raises(error):
        caller.dub(asset, "fr-FR")
    assert bool(caller.sandbox.billed()) is billed
    assert caller.dub(asset, "fr-FR").status_code == 202
    assert endpoints(caller, DUBBING) == [(202 if billed else 0, kind), (202, "")]


@pytest.mark.parametrize(("kind", "billed"), [("hang_before", False), ("hang_after", True)])
def test_hanging(caller: Caller, kind: Any, billed: bool) -> None:
    asset = caller.uploaded()
    caller.sandbox.inject(Fault(DUBBING, kind))
    caller.http.timeout = 0.2
    with pytest.raises(httpx.ReadTimeout):
        caller.dub(asset, "fr-FR")
    assert bool(caller.sandbox.billed()) is billed


def test_hanging_ends_by_itself(caller: Caller) -> None:
    caller.sandbox.inject(Fault("GET *", "hang_before", seconds=0.1))
    with pytest.raises(httpx.ReadError):
        caller.http.get("/v2/assets/x")


def test_delay(caller: Caller) -> None:
    caller.sandbox.inject(Fault("POST *", "delay", seconds=0.2))
    start = time.monotonic()
    assert caller.new_asset().status_code == 201
    assert time.monotonic() - start >= 0.2


def test_truncated_in_silence(caller: Caller) -> None:
    """Nothing but the missing length tells that something is missing."""
    (dub,) = caller.complete("fr-FR")
    caller.sandbox.inject(Fault("download", "truncate_silently", after_bytes=100))
    answer = caller.plain.get(dub["download"])
    assert answer.status_code == 200
    assert len(answer.content) == 100
    assert "content-length" not in answer.headers


def test_chunks(caller: Caller) -> None:
    (dub,) = caller.complete("fr-FR")
    whole = caller.plain.get(dub["download"]).content
    caller.sandbox.inject(Fault("download", "chunked"))
    answer = caller.plain.get(dub["download"])
    assert answer.content == whole
    assert answer.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in answer.headers


def test_a_download_that_is_reset_has_begun(make: Make) -> None:
    caller = make(output_padding=5_000_000, faults=(Fault("download", "reset_during", after_bytes=1_000_000),))
    (dub,) = caller.complete("fr-FR")
    received = 0
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)), caller.plain.stream("GET", dub["download"]) as answer:
        assert int(answer.headers["content-length"]) > 5_000_000
        for piece in answer.iter_raw():
            received += len(piece)
    assert 0 < received <= 1_000_000


def test_slow(caller: Caller) -> None:
    (dub,) = caller.complete("fr-FR")
    whole = caller.plain.get(dub["captions"]["srt"]).content
    caller.sandbox.inject(Fault("captions", "slow", bytes_per_second=len(whole) * 4))
    start = time.monotonic()
    assert caller.plain.get(dub["captions"]["srt"]).content == whole
    assert time.monotonic() - start >= 0.24


def test_status_with_html(caller: Caller) -> None:
    caller.sandbox.inject(Fault("*", "status", status=502, body="<h1>Bad Gateway</h1>", headers={"Via": "proxy"}))
    answer = caller.new_asset()
    assert (answer.status_code, answer.text) == (502, "<h1>Bad Gateway</h1>")
    assert (answer.headers["content-type"], answer.headers["via"]) == ("text/html", "proxy")
    assert caller.sandbox.state.assets == {}


def test_status_of_storage(caller: Caller) -> None:
    asset = caller.asset()
    caller.sandbox.inject(Fault("S3 PutObject", "status", status=503, count=1))
    assert caller.signed("PUT", asset, body=b"x").status_code == 503
    assert caller.signed("PUT", asset, body=b"x").status_code == 200


@pytest.mark.parametrize("header", ["RateLimit-Reset", "Retry-After"])
@pytest.mark.parametrize("form", ["seconds", "epoch", "date"])
def test_too_many(caller: Caller, header: Any, form: Any) -> None:
    caller.sandbox.inject(Fault("*", "rate_limit", seconds=30, header=header, form=form))
    answer = caller.new_asset()
    assert answer.status_code == 429
    text = answer.headers[header]
    if form == "date":
        left = parsedate_to_datetime(text).timestamp() - time.time()
    else:
        left = float(text) - (time.time() if form == "epoch" else 0)
    assert 25 < left <= 31


def test_too_many_without_a_header(caller: Caller) -> None:
    caller.sandbox.inject(Fault("*", "rate_limit", header="none"))
    answer = caller.new_asset()
    assert not {"ratelimit-reset", "retry-after", "ratelimit-limit"} & set(answer.headers)


def test_wrong_json(caller: Caller) -> None:
    asset = caller.uploaded()
    caller.sandbox.inject(Fault(DUBBING, "body", body='{"created', content_type="application/json"))
    answer = caller.dub(asset, "fr-FR")
    assert (answer.status_code, answer.text) == (202, '{"created')
    assert len(caller.sandbox.billed()) == 1


def test_missing_fields_and_unknown_status(caller: Caller) -> None:
    project = caller.project("fr-FR", "de")
    caller.sandbox.advance(200)
    caller.sandbox.inject(
        Fault(
            "GET /v2/dubbing/{id}",
            "change",
            drop=("dubbedAssets.*.download", "nothing.here", "dubbedAssets.1.status"),
            set={"status": "thinking", "dubbedAssets.0.captions.srt": None},
        )
    )
    document = caller.look(project)
    first, second = document["dubbedAssets"]
    assert document["status"] == "thinking"
    assert "download" not in first
    assert "download" not in second
    assert "status" in first
    assert "status" not in second
    assert first["captions"]["srt"] is None
    assert second["captions"]["srt"]


def test_only_the_nth(caller: Caller) -> None:
    caller.sandbox.inject(Fault("POST /v2/assets", "status", nth=(2, 4)))
    assert [caller.new_asset().status_code for _ in range(5)] == [201, 503, 201, 503, 201]


def test_probability_follows_the_seed(make: Make) -> None:
    fault = Fault("POST /v2/assets", "status", probability=0.5)
    runs = []
    for seed in (1, 1, 2):
        caller = make(seed=seed, faults=(fault,))
        runs.append([caller.new_asset().status_code for _ in range(20)])
    assert runs[0] == runs[1] != runs[2]
    assert {201, 503} == set(runs[0])


def test_one_language_of_the_downloads(caller: Caller) -> None:
    french, german = caller.complete("fr-FR", "de")
    caller.sandbox.inject(Fault("download", "status", path="*/fr-FR/*", status=404))
    assert caller.plain.get(french["download"]).status_code == 404
    assert caller.plain.get(german["download"]).status_code == 200


def test_faults_can_be_cleared(caller: Caller) -> None:
    caller.sandbox.inject(Fault("*", "status"))
    assert caller.new_asset().status_code == 503
    caller.sandbox.clear_faults()
    assert caller.new_asset().status_code == 201


def test_down_and_up_again(caller: Caller) -> None:
    asset = caller.uploaded()
    caller.sandbox.wait(caller.sandbox.down())
    with pytest.raises(httpx.TransportError):
        caller.dub(asset, "fr-FR")
    with pytest.raises(httpx.ConnectError):
        caller.dub(asset, "fr-FR")
    assert caller.sandbox.billed() == []
    caller.sandbox.wait(caller.sandbox.up())
    assert caller.dub(asset, "fr-FR").status_code == 202
