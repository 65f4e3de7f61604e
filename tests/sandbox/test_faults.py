"""Every fault, as a client sees it, and whether the request behind it was processed."""

import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from synthdub_tui.sandbox import Fault
from tests.sandbox.conftest import ApiCaller, MakeCaller

POST_DUBBING = "POST /v2/dubbing"


def statuses_and_faults(caller: ApiCaller, name: str) -> list[tuple[int, str]]:
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
def test_broken_connections(caller: ApiCaller, kind: Any, billed: bool, error: Any) -> None:
    asset = caller.upload_new_asset()
    caller.sandbox.inject(Fault(POST_DUBBING, kind, count=1, after_bytes=10))
    with pytest.raises(error):
        caller.post_dubbing(asset, "fr-FR")
    assert bool(caller.sandbox.billed_dubs()) is billed
    assert caller.post_dubbing(asset, "fr-FR").status_code == 202
    assert statuses_and_faults(caller, POST_DUBBING) == [(202 if billed else 0, kind), (202, "")]


@pytest.mark.parametrize(("kind", "billed"), [("hang_before", False), ("hang_after", True)])
def test_hanging(caller: ApiCaller, kind: Any, billed: bool) -> None:
    asset = caller.upload_new_asset()
    caller.sandbox.inject(Fault(POST_DUBBING, kind))
    caller.api_client.timeout = 0.2
    with pytest.raises(httpx.ReadTimeout):
        caller.post_dubbing(asset, "fr-FR")
    assert bool(caller.sandbox.billed_dubs()) is billed


def test_hanging_ends_after_its_time(caller: ApiCaller) -> None:
    caller.sandbox.inject(Fault("GET *", "hang_before", seconds=0.1))
    with pytest.raises(httpx.ReadError):
        caller.api_client.get("/v2/assets/x")


def test_delay(caller: ApiCaller) -> None:
    caller.sandbox.inject(Fault("POST *", "delay", seconds=0.2))
    start = time.monotonic()
    assert caller.post_asset().status_code == 201
    assert time.monotonic() - start >= 0.2


def test_truncated_in_silence(caller: ApiCaller) -> None:
    """Nothing but the missing length tells that something is missing."""
    (dub,) = caller.complete_dubs("fr-FR")
    caller.sandbox.inject(Fault("download", "truncate_silently", after_bytes=100))
    answer = caller.plain_client.get(dub["download"])
    assert answer.status_code == 200
    assert len(answer.content) == 100
    assert "content-length" not in answer.headers


def test_chunks(caller: ApiCaller) -> None:
    (dub,) = caller.complete_dubs("fr-FR")
    whole = caller.plain_client.get(dub["download"]).content
    caller.sandbox.inject(Fault("download", "chunked"))
    answer = caller.plain_client.get(dub["download"])
    assert answer.content == whole
    assert answer.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in answer.headers


def test_a_download_that_is_reset_has_begun(make_caller: MakeCaller) -> None:
    caller = make_caller(output_padding=5_000_000, faults=(Fault("download", "reset_during", after_bytes=1_000_000),))
    (dub,) = caller.complete_dubs("fr-FR")
    received = 0
    with (
        pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)),
        caller.plain_client.stream("GET", dub["download"]) as answer,
    ):
        assert int(answer.headers["content-length"]) > 5_000_000
        for piece in answer.iter_raw():
            received += len(piece)
    assert 0 < received <= 1_000_000


def test_slow(caller: ApiCaller) -> None:
    (dub,) = caller.complete_dubs("fr-FR")
    whole = caller.plain_client.get(dub["captions"]["srt"]).content
    caller.sandbox.inject(Fault("captions", "slow", bytes_per_second=len(whole) * 4))
    start = time.monotonic()
    assert caller.plain_client.get(dub["captions"]["srt"]).content == whole
    assert time.monotonic() - start >= 0.24


def test_status_with_html(caller: ApiCaller) -> None:
    caller.sandbox.inject(Fault("*", "status", status=502, body="<h1>Bad Gateway</h1>", headers={"Via": "proxy"}))
    answer = caller.post_asset()
    assert (answer.status_code, answer.text) == (502, "<h1>Bad Gateway</h1>")
    assert (answer.headers["content-type"], answer.headers["via"]) == ("text/html", "proxy")
    assert caller.sandbox.state.assets == {}


def test_status_of_storage(caller: ApiCaller) -> None:
    asset = caller.create_asset()
    caller.sandbox.inject(Fault("S3 PutObject", "status", status=503, count=1))
    assert caller.send_signed("PUT", asset, body=b"x").status_code == 503
    assert caller.send_signed("PUT", asset, body=b"x").status_code == 200


@pytest.mark.parametrize("header", ["RateLimit-Reset", "Retry-After"])
@pytest.mark.parametrize("form", ["seconds", "epoch", "date"])
def test_too_many(caller: ApiCaller, header: Any, form: Any) -> None:
    caller.sandbox.inject(Fault("*", "rate_limit", seconds=30, header=header, form=form))
    answer = caller.post_asset()
    assert answer.status_code == 429
    text = answer.headers[header]
    if form == "date":
        left = parsedate_to_datetime(text).timestamp() - time.time()
    else:
        left = float(text) - (time.time() if form == "epoch" else 0)
    assert 25 < left <= 31


def test_too_many_without_a_header(caller: ApiCaller) -> None:
    caller.sandbox.inject(Fault("*", "rate_limit", header="none"))
    answer = caller.post_asset()
    assert not {"ratelimit-reset", "retry-after", "ratelimit-limit"} & set(answer.headers)


def test_wrong_json(caller: ApiCaller) -> None:
    asset = caller.upload_new_asset()
    caller.sandbox.inject(Fault(POST_DUBBING, "body", body='{"created', content_type="application/json"))
    answer = caller.post_dubbing(asset, "fr-FR")
    assert (answer.status_code, answer.text) == (202, '{"created')
    assert len(caller.sandbox.billed_dubs()) == 1


def test_missing_fields_and_unknown_status(caller: ApiCaller) -> None:
    project = caller.create_project("fr-FR", "de")
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


def test_only_the_nth(caller: ApiCaller) -> None:
    caller.sandbox.inject(Fault("POST /v2/assets", "status", nth=(2, 4)))
    assert [caller.post_asset().status_code for _ in range(5)] == [201, 503, 201, 503, 201]


def test_probability_follows_the_seed(make_caller: MakeCaller) -> None:
    fault = Fault("POST /v2/assets", "status", probability=0.5)
    runs = []
    for seed in (1, 1, 2):
        caller = make_caller(seed=seed, faults=(fault,))
        runs.append([caller.post_asset().status_code for _ in range(20)])
    assert runs[0] == runs[1] != runs[2]
    assert {201, 503} == set(runs[0])


def test_one_language_of_the_downloads(caller: ApiCaller) -> None:
    french, german = caller.complete_dubs("fr-FR", "de")
    caller.sandbox.inject(Fault("download", "status", path="*/fr-FR/*", status=404))
    assert caller.plain_client.get(french["download"]).status_code == 404
    assert caller.plain_client.get(german["download"]).status_code == 200


def test_faults_can_be_cleared(caller: ApiCaller) -> None:
    caller.sandbox.inject(Fault("*", "status"))
    assert caller.post_asset().status_code == 503
    caller.sandbox.clear_faults()
    assert caller.post_asset().status_code == 201


def test_down_and_up_again(caller: ApiCaller) -> None:
    asset = caller.upload_new_asset()
    caller.sandbox.run_in_loop(caller.sandbox.start_outage())
    with pytest.raises(httpx.TransportError):
        caller.post_dubbing(asset, "fr-FR")
    with pytest.raises(httpx.ConnectError):
        caller.post_dubbing(asset, "fr-FR")
    assert caller.sandbox.billed_dubs() == []
    caller.sandbox.run_in_loop(caller.sandbox.end_outage())
    assert caller.post_dubbing(asset, "fr-FR").status_code == 202
