"""The client over real sockets: what it sends, how it reads every kind of failure, and what it never does."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from synthdub_tui.errors import ProblemError
from synthdub_tui.problems import PROBLEMS
from synthdub_tui.synthesia import outcomes
from synthdub_tui.synthesia.client import (
    MAX_BODY_BYTES,
    CallRecord,
    InvalidApiKeyError,
    NotSentError,
    RequestRejectedError,
    ServiceUnavailableError,
    SynthesiaClient,
    Timeouts,
    UnknownOutcomeError,
)
from synthdub_tui.synthesia.errors import AccountError
from synthdub_tui.synthesia.rate_gate import TIERS, Endpoint, Priority, RateGate, RateLimit, RateTier
from synthdub_tui.synthesia.schema import AssetStatus, ProjectStatus
from tests.waiting import scale_timeout, until

from .fault_server import FaultServer, ReceivedRequest, ScriptedReply, html_reply, json_reply
from .test_schema import ADDED_LANGUAGES, ASSET_BODY, CREATED_ASSET, CREATED_PROJECT, LANGUAGE_ENTRY, PROJECT_BODY

API_KEY = "k3y-of-the-tests"
OPENAPI_DOCUMENT = json.loads((Path(__file__).parent.parent / "data" / "openapi.json").read_text())
SHORT_TIMEOUTS = Timeouts(read=0.05, write=0.05)

DUBBING_OPTIONS: dict[str, Any] = {
    "targets": ["fr-FR", "es-ES"],
    "lipsync": True,
    "video_duration": "original",
    "visibility": "public",
}

CALL_BY_ENDPOINT: dict[Endpoint, Callable[[SynthesiaClient], Awaitable[object]]] = {
    Endpoint.CREATE_ASSET: lambda c: c.create_asset(title="Intro", content_type="video/mp4", size=7),
    Endpoint.GET_ASSET: lambda c: c.get_asset("a-1"),
    Endpoint.CREATE_DUBBING: lambda c: c.create_dubbing(title="Intro", asset="a-1", source_language="en", **DUBBING_OPTIONS),
    Endpoint.GET_DUBBING: lambda c: c.get_project("p-1"),
    Endpoint.ADD_LOCALES: lambda c: c.add_locales("p-1", **DUBBING_OPTIONS),
}
GOOD_REPLIES: dict[Endpoint, tuple[int, object]] = {
    Endpoint.CREATE_ASSET: (201, CREATED_ASSET),
    Endpoint.GET_ASSET: (200, ASSET_BODY),
    Endpoint.CREATE_DUBBING: (202, CREATED_PROJECT),
    Endpoint.GET_DUBBING: (200, PROJECT_BODY),
    Endpoint.ADD_LOCALES: (202, ADDED_LANGUAGES),
}
PAID_ENDPOINTS = (Endpoint.CREATE_DUBBING, Endpoint.ADD_LOCALES)
each_endpoint = pytest.mark.parametrize("endpoint", list(Endpoint))


def good_reply(endpoint: Endpoint) -> ScriptedReply:
    return json_reply(*GOOD_REPLIES[endpoint])


@asynccontextmanager
async def open_client(
    url: str, *, key: str = API_KEY, tier: RateTier = TIERS["unlimited"], **more: Any
) -> AsyncIterator[SynthesiaClient]:
    client = SynthesiaClient(url, key, RateGate(tier), **more)
    try:
        yield client
    finally:
        await client.close()


async def call_error(
    reply: ScriptedReply, endpoint: Endpoint, *, timeouts: Timeouts | None = None, on_accept: str = ""
) -> ProblemError:
    """The trouble that this answer gives to this call, made once; none of it may hold the key."""
    async with FaultServer(lambda seen: reply, on_accept) as server, open_client(server.url, timeouts=timeouts) as client:
        with pytest.raises(ProblemError) as caught:
            await CALL_BY_ENDPOINT[endpoint](client)
        assert server.connection_count == 1, "a call is never repeated by the client"
    trouble = caught.value
    assert API_KEY not in f"{trouble!r} {trouble} {trouble.__cause__!r}"
    assert trouble.code in PROBLEMS
    return trouble


def assert_lost(trouble: ProblemError, endpoint: Endpoint, code: str) -> None:
    """A read is unavailable, a paid write asks the user, an unpaid one says why."""
    kind = UnknownOutcomeError if endpoint.is_write else ServiceUnavailableError
    assert (type(trouble), trouble.code) == (kind, "submission_unknown" if endpoint in PAID_ENDPOINTS else code)


def used_call_counts(client: SynthesiaClient, endpoint: Endpoint) -> set[int]:
    """Calls that count, in any window."""
    return {window.used for window in client._rate_gate.usage()[endpoint].windows}


def assert_not_accepted(trouble: ProblemError, endpoint: Endpoint, code: str) -> None:
    assert (type(trouble), trouble.code) == (NotSentError if endpoint.is_write else ServiceUnavailableError, code)


# -- what is sent ------------------------------------------------------------------------------------------------------

REQUEST_SCHEMAS = {
    Endpoint.CREATE_ASSET: "CreateAssetRequest",
    Endpoint.CREATE_DUBBING: "CreateDubbingProjectApiRequestFromSourceAssetId",
    Endpoint.ADD_LOCALES: "AddLocalesToDubbingProjectRequest",
}
REQUEST_TARGETS = {
    Endpoint.CREATE_ASSET: ("POST", "/v2/assets"),
    Endpoint.GET_ASSET: ("GET", "/v2/assets/a-1"),
    Endpoint.CREATE_DUBBING: ("POST", "/v2/dubbing"),
    Endpoint.GET_DUBBING: ("GET", "/v2/dubbing/p-1"),
    Endpoint.ADD_LOCALES: ("PUT", "/v2/dubbing/p-1"),
}


@each_endpoint
async def test_what_is_sent(endpoint: Endpoint) -> None:
    async with FaultServer(lambda seen: good_reply(endpoint)) as server, open_client(server.url) as client:
        await CALL_BY_ENDPOINT[endpoint](client)
    (seen,) = server.received
    assert (seen.method, seen.target) == REQUEST_TARGETS[endpoint]
    assert seen.headers["authorization"] == API_KEY
    assert seen.headers["user-agent"].startswith("synthdub-tui/")
    assert seen.headers["host"] == f"127.0.0.1:{server.port}"
    assert seen.headers.get("content-type") == ("application/json" if endpoint.is_write else None)
    if endpoint.is_write:
        reference = {"$ref": f"#/components/schemas/{REQUEST_SCHEMAS[endpoint]}", "components": OPENAPI_DOCUMENT["components"]}
        jsonschema.Draft202012Validator(reference).validate(seen.json)


async def test_bodies_in_full() -> None:
    async with FaultServer(lambda seen: json_reply(500)) as server, open_client(server.url) as client:
        for endpoint in REQUEST_SCHEMAS:
            with pytest.raises(UnknownOutcomeError):
                await CALL_BY_ENDPOINT[endpoint](client)
    options = {
        "targetLanguages": ["fr-FR", "es-ES"],
        "lipsyncEnabled": True,
        "videoDuration": "original",
        "visibility": "public",
    }
    assert [seen.json for seen in server.received] == [
        {
            "contentType": "video/mp4",
            "configuration": {"name": "dubbing", "detectLanguage": True},
            "title": "Intro",
            "contentLength": 7,
        },
        {"title": "Intro", "sourceAssetId": "a-1", "sourceLanguage": "en", **options},
        options,
    ]


async def test_what_is_understood() -> None:
    script = {target: good_reply(endpoint) for endpoint, target in REQUEST_TARGETS.items()}
    async with FaultServer(lambda seen: script[seen.method, seen.target]) as server, open_client(server.url + "/") as client:
        created = await client.create_asset(title="T", content_type="video/mp4", size=1)
        assert (created.id, created.credentials.bucket) == ("a-1", "b")
        assert (await client.get_asset("a-1", priority=Priority.USER)).status is AssetStatus.READY
        assert await CALL_BY_ENDPOINT[Endpoint.CREATE_DUBBING](client) == "p-1"
        assert (await client.get_project("p-1", priority=Priority.USER)).status is ProjectStatus.COMPLETE
        added = await client.add_locales("p-1", **DUBBING_OPTIONS)
        assert not added.nothing_new and added.refused == (("xx", "no"),)


async def test_nothing_new() -> None:
    async with FaultServer(lambda seen: ScriptedReply(204)) as server, open_client(server.url) as client:
        assert (await client.add_locales("p-1", **DUBBING_OPTIONS)).nothing_new


@pytest.mark.parametrize("wrong", ["", "..", "a/b", "a%2Fb", "a?b", "x" * 129, "ä", "a\n"])
async def test_an_invalid_id_is_not_sent(wrong: str) -> None:
    async with FaultServer() as server, open_client(server.url) as client:
        for call in (client.get_asset(wrong), client.get_project(wrong), client.add_locales(wrong, **DUBBING_OPTIONS)):
            with pytest.raises(RequestRejectedError) as caught:
                await call
            assert caught.value.status == 0
        with pytest.raises(RequestRejectedError):
            await client.create_dubbing(title="T", asset=wrong, source_language="en", **DUBBING_OPTIONS)
    assert server.connection_count == 0


# -- broken connections ------------------------------------------------------------------------------------------------


@each_endpoint
async def test_refused_connection(endpoint: Endpoint) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with open_client(f"http://127.0.0.1:{unused.getsockname()[1]}", tier=TIERS["creator"]) as client:
            with pytest.raises(ProblemError) as caught:
                await CALL_BY_ENDPOINT[endpoint](client)
            assert used_call_counts(client, endpoint) == {0}  # the service has not counted it either
    assert_not_accepted(caught.value, endpoint, "service_unreachable")


@each_endpoint
async def test_unknown_host(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with open_client("https://nowhere.invalid") as client:
        with pytest.raises(ProblemError) as caught:
            await CALL_BY_ENDPOINT[endpoint](client)
    assert_not_accepted(caught.value, endpoint, "service_unreachable")


@each_endpoint
async def test_connect_timeout(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: object, **__: object) -> object:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    async with open_client("http://localhost:9", timeouts=Timeouts(connect=0.02)) as client:
        with pytest.raises(ProblemError) as caught:
            await CALL_BY_ENDPOINT[endpoint](client)
    assert_not_accepted(caught.value, endpoint, "service_unreachable")


@each_endpoint
async def test_tls_that_fails(endpoint: Endpoint) -> None:
    async with FaultServer() as server, open_client(f"https://127.0.0.1:{server.port}") as client:
        with pytest.raises(ProblemError) as caught:
            await CALL_BY_ENDPOINT[endpoint](client)
    assert_not_accepted(caught.value, endpoint, "service_unreachable")
    assert not server.received


@each_endpoint
@pytest.mark.parametrize("on_accept", ["reset", "reset_in_request"])
async def test_reset_before_and_within_the_request(endpoint: Endpoint, on_accept: str) -> None:
    assert_lost(await call_error(ScriptedReply(), endpoint, on_accept=on_accept), endpoint, "service_unreachable")


BROKEN_REPLIES = {
    "reset after the request": ScriptedReply(fault="reset"),
    "closed without an answer": ScriptedReply(
        fault="", headers={}, status=200, body=b"", cut_after_bytes=0, announced_length=5
    ),
    "hangs": ScriptedReply(fault="hang"),
    "truncated": ScriptedReply(body=b'{"id": "a-1"}', cut_after_bytes=5),
    "reset within the body": ScriptedReply(body=b'{"id": "a-1"}', cut_after_bytes=5, fault="reset_body"),
    "hangs within the body": ScriptedReply(body=b'{"id": "a-1"}', cut_after_bytes=5, fault="hang_body"),
    "length too long": ScriptedReply(body=b"{}", announced_length=50, fault="hang_body"),
}
UNUSABLE_REPLIES = {
    "truncated without a length": ScriptedReply(body=b'{"id": "a-1"}', cut_after_bytes=5, headers={"Content-Length": ""}),
    "length too short": ScriptedReply(body=json.dumps(PROJECT_BODY).encode(), announced_length=20),
    "wrong JSON": json_reply(200, {"hello": "world"}),
    "a list": json_reply(200, [1, 2]),
    "empty": json_reply(200),
    "nested": ScriptedReply(body=b"[" * 200_000),
    "too large": ScriptedReply(body=b'"' + b"x" * MAX_BODY_BYTES + b'"'),
    "a bomb": ScriptedReply(body=gzip.compress(b" " * (4 * MAX_BODY_BYTES)), headers={"Content-Encoding": "gzip"}),
    "unknown encoding": ScriptedReply(body=b"{}", headers={"Content-Encoding": "br"}),
    "damaged gzip": ScriptedReply(body=b"{}", headers={"Content-Encoding": "gzip"}),
    "half a gzip": ScriptedReply(
        body=gzip.compress(json.dumps(LANGUAGE_ENTRY).encode())[:-20], headers={"Content-Encoding": "gzip"}
    ),
}


@each_endpoint
@pytest.mark.parametrize("name", BROKEN_REPLIES)
async def test_broken_answers(endpoint: Endpoint, name: str) -> None:
    trouble = await call_error(BROKEN_REPLIES[name], endpoint, timeouts=SHORT_TIMEOUTS)
    assert_lost(trouble, endpoint, "service_unreachable")


@each_endpoint
@pytest.mark.parametrize("name", UNUSABLE_REPLIES)
async def test_answers_that_cannot_be_understood(endpoint: Endpoint, name: str) -> None:
    assert_lost(await call_error(UNUSABLE_REPLIES[name], endpoint), endpoint, "service_answer")


@each_endpoint
async def test_web_page_instead_of_an_answer(endpoint: Endpoint) -> None:
    assert_lost(await call_error(html_reply(200), endpoint), endpoint, "service_down")


@each_endpoint
async def test_an_answer_that_trickles(endpoint: Endpoint) -> None:
    """Each read is in time, the whole is not."""
    hasty = Timeouts(read=5, write=5, read_total=0.05, write_total=0.05)
    assert_lost(await call_error(ScriptedReply(fault="hang"), endpoint, timeouts=hasty), endpoint, "service_unreachable")


@each_endpoint
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_compressed_without_being_asked(endpoint: Endpoint, encoding: str) -> None:
    reply = good_reply(endpoint)
    reply.body = gzip.compress(reply.body) if encoding == "gzip" else zlib.compress(reply.body)
    reply.headers["Content-Encoding"] = encoding
    async with FaultServer(lambda seen: reply) as server, open_client(server.url) as client:
        await CALL_BY_ENDPOINT[endpoint](client)


# -- answers that say no -----------------------------------------------------------------------------------------------


@each_endpoint
@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
@pytest.mark.parametrize("page", [True, False])
async def test_server_errors(endpoint: Endpoint, status: int, page: bool) -> None:
    reply = html_reply(status, Retry_After="17") if page else json_reply(status, {"error": "oops"}, Retry_After="17")
    trouble = await call_error(reply, endpoint)
    assert_lost(trouble, endpoint, "service_down")
    if isinstance(trouble, ServiceUnavailableError):
        assert trouble.retry_after == 17


@each_endpoint
@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "30"}, 30),
        ({"RateLimit-Reset": "20", "RateLimit-Limit": "60"}, 20),
        ({"RateLimit-Reset": "?"}, 60),
        ({}, 60),
    ],
)
async def test_rate_limit(endpoint: Endpoint, headers: dict[str, str], wait: float) -> None:
    quota = RateGate(TIERS["unlimited"])
    reply = ScriptedReply(429, b'{"error": "slow down"}', headers)
    async with FaultServer(lambda seen: reply) as server:
        client = SynthesiaClient(server.url, API_KEY, quota)
        with pytest.raises(ProblemError) as caught:
            await CALL_BY_ENDPOINT[endpoint](client)
        await client.close()
    assert_not_accepted(caught.value, endpoint, "rate_limited")
    assert caught.value.retry_after == wait  # type: ignore[attr-defined]
    assert quota.seconds_until_free(endpoint) == pytest.approx(wait, abs=1)
    assert all(quota.seconds_until_free(other) == 0 for other in Endpoint if other is not endpoint)


@pytest.mark.parametrize("endpoint", [each for each in Endpoint if each not in PAID_ENDPOINTS])
@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (json_reply(408), "service_down"),
        (json_reply(425), "service_down"),
        (html_reply(403), "service_down"),
        (html_reply(404), "service_answer"),
    ],
)
async def test_what_costs_nothing_and_was_hardly_taken_may_be_repeated(
    endpoint: Endpoint, reply: ScriptedReply, code: str
) -> None:
    """Of paid requests it is not known, see test_answers."""
    assert_not_accepted(await call_error(reply, endpoint), endpoint, code)


@each_endpoint
async def test_redirects_are_not_followed(endpoint: Endpoint) -> None:
    async with FaultServer() as other:
        reply = json_reply(307, None, Location=f"{other.url}/v2/stolen")
        trouble = await call_error(reply, endpoint)
        assert other.connection_count == 0
    if endpoint is Endpoint.CREATE_ASSET:
        assert (type(trouble), trouble.code) == (RequestRejectedError, "service_answer")
    else:
        assert_lost(trouble, endpoint, "service_answer")


REFUSAL_REPLIES: list[tuple[Endpoint, ScriptedReply, str]] = [
    (Endpoint.CREATE_ASSET, json_reply(415, {"error": "Unsupported Media Type"}), "media_type"),
    (Endpoint.CREATE_ASSET, json_reply(415), "media_type"),
    (Endpoint.CREATE_ASSET, html_reply(415), "media_type"),
    (Endpoint.CREATE_ASSET, json_reply(400, {"error": "Unsupported media type."}), "media_type"),
    (Endpoint.CREATE_ASSET, json_reply(400, {"error": "title too odd"}), "request_refused"),
    (Endpoint.CREATE_ASSET, json_reply(404, {"error": "what?"}), "service_answer"),
    (Endpoint.GET_ASSET, json_reply(404, {"error": "Not Found"}), "asset_not_found"),
    (Endpoint.GET_ASSET, json_reply(410), "asset_not_found"),
    (Endpoint.CREATE_ASSET, json_reply(501, {"error": "Not implemented yet"}), "request_refused"),
    (Endpoint.CREATE_ASSET, html_reply(400), "request_refused"),
    (Endpoint.CREATE_ASSET, ScriptedReply(400, b'{"error": "x"}', cut_after_bytes=3), "request_refused"),
    (Endpoint.CREATE_DUBBING, json_reply(404, {"error": "Not Found"}), "asset_not_found"),
    (Endpoint.CREATE_DUBBING, json_reply(400, {"error": "BrokenAssetUrlError", "context": "c"}), "BrokenAssetUrlError"),
    (Endpoint.CREATE_DUBBING, json_reply(400, {"error": "Failed", "context": "BrokenAssetUrlError: x"}), "BrokenAssetUrlError"),
    (Endpoint.CREATE_DUBBING, json_reply(400, {"error": "moderation"}), "moderation"),
    (Endpoint.CREATE_DUBBING, json_reply(400, {"error": "media type"}), "request_refused"),
    (Endpoint.CREATE_DUBBING, json_reply(422, {"error": "Unprocessable"}), "request_refused"),
    (Endpoint.GET_DUBBING, json_reply(404, {"error": "Not Found"}), "project_not_found"),
    (Endpoint.GET_DUBBING, json_reply(400, {"error": "Invalid dubbing project"}), "request_refused"),
    (Endpoint.ADD_LOCALES, json_reply(404, {"error": "Not Found"}), "project_not_found"),
]


@pytest.mark.parametrize("endpoint", [each for each in Endpoint if each.is_write])
@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (json_reply(402, {"error": "no credits"}), "no credits"),
        (json_reply(403, {"error": "Forbidden", "context": "Your plan does not include dubbing"}), "does not include dubbing"),
        (json_reply(403, {"error": "InsufficientCredits"}), "InsufficientCredits"),
    ],
)
async def test_refusals_for_what_the_account_has(endpoint: Endpoint, reply: ScriptedReply, words: str) -> None:
    """They are about no file, and not about the key: other calls go on."""
    replies = [reply, good_reply(Endpoint.GET_ASSET)]
    async with FaultServer(lambda seen: replies.pop(0)) as server, open_client(server.url) as client:
        with pytest.raises(AccountError) as caught:
            await CALL_BY_ENDPOINT[endpoint](client)
        assert caught.value.code == "account_refused"
        assert words in caught.value.detail
        await CALL_BY_ENDPOINT[Endpoint.GET_ASSET](client)


@pytest.mark.parametrize(("endpoint", "reply", "code"), REFUSAL_REPLIES)
async def test_refusals(endpoint: Endpoint, reply: ScriptedReply, code: str) -> None:
    trouble = await call_error(reply, endpoint)
    assert isinstance(trouble, RequestRejectedError)
    assert (trouble.code, trouble.status) == (code, reply.status)


@pytest.mark.parametrize("endpoint", [each for each in Endpoint if each.is_write])
@pytest.mark.parametrize("status", [400, 403, 422])
@pytest.mark.parametrize(
    ("error", "context"),
    [("content_moderation", ""), ("Forbidden", "The content was flagged"), ("Bad request", "No credits for rejected content")],
)
async def test_a_refusal_for_content_is_moderation_and_not_about_the_key_or_the_account(
    endpoint: Endpoint, status: int, error: str, context: str
) -> None:
    replies = [json_reply(status, {"error": error, "context": context}), good_reply(Endpoint.GET_ASSET)]
    async with FaultServer(lambda seen: replies.pop(0)) as server, open_client(server.url) as client:
        with pytest.raises(RequestRejectedError) as caught:
            await CALL_BY_ENDPOINT[endpoint](client)
        assert caught.value.code == "moderation"
        await CALL_BY_ENDPOINT[Endpoint.GET_ASSET](client)


async def test_refused_languages() -> None:
    reply = json_reply(
        400, {"dubbedErrors": [{"language": "xx-XX", "error": "unsupported"}, {"language": None, "error": "odd"}]}
    )
    trouble = await call_error(reply, Endpoint.CREATE_DUBBING)
    assert isinstance(trouble, RequestRejectedError)
    assert trouble.code == "language_refused"
    assert trouble.languages == (("xx-XX", "unsupported"), ("", "odd"))
    assert "xx-XX: unsupported" in trouble.detail


async def test_words_of_the_service_hold_neither_key_nor_signature() -> None:
    said = f"key {API_KEY} at https://s3.example/x?X-Amz-Signature=abc \x1b[2J"
    trouble = await call_error(json_reply(400, {"error": said, "dubbedErrors": [{"error": said}]}), Endpoint.ADD_LOCALES)
    assert isinstance(trouble, RequestRejectedError)
    shown = f"{trouble.detail} {trouble.languages}"
    assert "https://s3.example/x" in shown
    assert not any(secret in shown for secret in (API_KEY, "abc", "\x1b"))


# -- the intent before a paid call -------------------------------------------------------------------------------------

PAID_CALLS: list[Callable[..., Awaitable[object]]] = [
    lambda c, **hook: c.create_dubbing(title="T", asset="a-1", source_language="en", **DUBBING_OPTIONS, **hook),
    lambda c, **hook: c.add_locales("p-1", **DUBBING_OPTIONS, **hook),
]


@pytest.mark.parametrize("call", PAID_CALLS)
async def test_the_intent_comes_when_the_quota_allows_and_before_the_request(call: Callable[..., Awaitable[object]]) -> None:
    arrived: list[int] = []

    async with FaultServer(lambda seen: json_reply(202, CREATED_PROJECT | ADDED_LANGUAGES)) as server:

        async def intend() -> None:
            arrived.append(len(server.received))

        tier = RateTier("test", (RateLimit(2, 3600),))
        async with open_client(server.url, tier=tier) as client:
            await call(client, before_send=intend)
            waiting = asyncio.create_task(call(client, before_send=intend))
            await asyncio.sleep(0.02)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
    assert arrived == [0]
    assert len(server.received) == 1


@pytest.mark.parametrize("call", PAID_CALLS)
async def test_without_an_intent_nothing_is_sent(call: Callable[..., Awaitable[object]]) -> None:
    async def fail() -> None:
        raise OSError(28, "No space left on device")

    async with FaultServer() as server, open_client(server.url) as client:
        with pytest.raises(OSError, match="No space"):
            await call(client, before_send=fail)
    assert server.connection_count == 0


async def test_no_intent_for_what_is_not_sent() -> None:
    async def intend() -> None:
        raise AssertionError

    async with FaultServer() as server:
        async with open_client(server.url, key="") as client:
            for call in PAID_CALLS:
                with pytest.raises(InvalidApiKeyError):
                    await call(client, before_send=intend)
        async with open_client(server.url) as client:
            with pytest.raises(RequestRejectedError):
                await client.add_locales("a/b", **DUBBING_OPTIONS, before_send=intend)
    assert server.connection_count == 0


async def test_a_key_rejected_while_the_intent_is_written() -> None:
    async with FaultServer(lambda seen: good_reply(Endpoint.GET_ASSET)) as server, open_client(server.url) as client:
        await client.get_asset("a-1")
        server.script = lambda seen: json_reply(401)

        async def intend() -> None:
            with pytest.raises(InvalidApiKeyError):
                await client.get_asset("a-1")

        with pytest.raises(InvalidApiKeyError):
            await PAID_CALLS[0](client, before_send=intend)
    assert len(server.received) == 2


# -- the key -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", [json_reply(401), json_reply(403, {"error": "Forbidden"}), json_reply(403), html_reply(401)])
async def test_a_wrong_key_costs_one_request(reply: ScriptedReply) -> None:
    async with FaultServer(lambda seen: reply) as server, open_client(server.url, tier=TIERS["creator"]) as client:
        calls = [call(client) for _ in range(4) for call in CALL_BY_ENDPOINT.values()]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert len(results) == 20
        assert all(type(result) is InvalidApiKeyError and result.code == "key_rejected" for result in results)
        assert len(server.received) == 1
        server.script = lambda seen: good_reply(Endpoint.GET_ASSET)
        with pytest.raises(InvalidApiKeyError):
            await client.get_asset("a-1")
        client.set_key("another")
        await client.get_asset("a-1")
    assert [seen.headers["authorization"] for seen in server.received] == [API_KEY, "another"]


async def test_until_the_key_is_known_to_be_good_calls_go_one_by_one() -> None:
    async with FaultServer(lambda seen: good_reply(Endpoint.GET_ASSET)) as server, open_client(server.url) as client:
        server.may_answer = asyncio.Event()
        calls = [asyncio.create_task(client.get_asset("a-1")) for _ in range(20)]
        await until(lambda: server.active_requests)
        await asyncio.sleep(0.01)
        assert server.active_requests == 1
        server.may_answer.set()
        await asyncio.gather(*calls)
        server.may_answer.clear()
        calls = [asyncio.create_task(client.get_asset("a-1")) for _ in range(8)]
        await until(lambda: server.active_requests == 8)
        server.may_answer.set()
        await asyncio.gather(*calls)
    assert len(server.received) == 28


async def test_a_paused_endpoint_does_not_hold_up_the_first_call_of_another() -> None:
    async with FaultServer(lambda seen: good_reply(Endpoint.GET_DUBBING)) as server, open_client(server.url) as client:
        client._rate_gate.pause(Endpoint.CREATE_ASSET, 3600)
        waiting = asyncio.create_task(CALL_BY_ENDPOINT[Endpoint.CREATE_ASSET](client))
        await asyncio.sleep(0)
        await asyncio.wait_for(client.get_project("p-1"), scale_timeout())
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_rejection_later_frees_those_who_wait_for_the_quota() -> None:
    tier = RateTier("test", (), (RateLimit(2, 3600),))
    async with FaultServer(lambda seen: good_reply(Endpoint.GET_ASSET)) as server, open_client(server.url, tier=tier) as client:
        await client.get_asset("a-1")
        waiting = [asyncio.create_task(client.get_asset("a-1")) for _ in range(5)]
        await asyncio.sleep(0)
        server.script = lambda seen: json_reply(401)
        with pytest.raises(InvalidApiKeyError):
            await CALL_BY_ENDPOINT[Endpoint.CREATE_ASSET](client)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, InvalidApiKeyError) for result in results)
    assert len(server.received) == 2


async def test_an_answer_to_the_old_key_says_nothing_about_the_new() -> None:
    async with FaultServer(lambda seen: json_reply(401)) as server, open_client(server.url) as client:
        server.may_answer = asyncio.Event()
        old = asyncio.create_task(client.get_asset("a-1"))
        await until(lambda: server.active_requests)
        client.set_key("another")
        server.may_answer.set()
        with pytest.raises(InvalidApiKeyError):
            await old
        server.script = lambda seen: good_reply(Endpoint.GET_ASSET)
        await client.get_asset("a-1")


@pytest.mark.parametrize(
    ("key", "code"), [("", "no_key"), (" \n", "no_key"), ("a\r\nX: y", "key_rejected"), ("kéy", "key_rejected")]
)
async def test_an_invalid_key_is_not_sent(key: str, code: str) -> None:
    async with FaultServer() as server, open_client(server.url, key=key) as client:
        with pytest.raises(InvalidApiKeyError) as caught:
            await client.get_asset("a-1")
        assert caught.value.code == code
        assert server.connection_count == 0


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.synthesia.io",
        "ftp://x",
        "http://example.com",
        "https://user:pass@x",
        "https://x?a=b",
        "https://",
        "http://[::1",
    ],
)
def test_invalid_base_urls_are_refused(url: str) -> None:
    with pytest.raises(ProblemError) as caught:
        SynthesiaClient(url, API_KEY, RateGate(TIERS["creator"]))
    assert caught.value.code == "url_invalid"
    assert "pass@" not in str(caught.value)


# -- connections, records, logs ----------------------------------------------------------------------------------------


async def test_a_write_never_reuses_a_connection_and_a_read_does() -> None:
    script = {target: good_reply(endpoint) for endpoint, target in REQUEST_TARGETS.items()}
    async with FaultServer(lambda seen: script[seen.method, seen.target]) as server, open_client(server.url) as client:
        for endpoint in (Endpoint.GET_DUBBING, *REQUEST_SCHEMAS, *REQUEST_SCHEMAS, Endpoint.GET_DUBBING):
            await CALL_BY_ENDPOINT[endpoint](client)
    connections = [seen.connection for seen in server.received]
    assert connections[0] == connections[-1]
    assert len(set(connections)) == 7
    assert {seen.headers["connection"] for seen in server.received if seen.method != "GET"} == {"close"}


async def test_no_proxy_towards_this_machine_and_no_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with FaultServer(lambda seen: good_reply(Endpoint.GET_ASSET)) as server, open_client(server.url) as client:
        await client.get_asset("a-1")
    assert server.received[0].headers["authorization"] == API_KEY


async def test_through_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with FaultServer(lambda seen: json_reply(407)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        async with open_client("https://api.example") as client:
            with pytest.raises(NotSentError) as caught:
                await CALL_BY_ENDPOINT[Endpoint.CREATE_DUBBING](client)
    assert caught.value.code == "service_unreachable"
    assert "authorization" not in proxy.received[0].headers


async def test_records_and_logs_hold_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    records: list[CallRecord] = []
    script = {target: good_reply(endpoint) for endpoint, target in REQUEST_TARGETS.items()}
    async with FaultServer(lambda seen: script[seen.method, seen.target]) as server:
        async with open_client(server.url, on_call=records.append) as client:
            for call in CALL_BY_ENDPOINT.values():
                await call(client)
            assert API_KEY not in repr(client) + repr(vars(client)["_reader"])
        server.script = lambda seen: ScriptedReply(fault="reset")
        async with open_client(server.url, on_call=records.append) as client:
            with pytest.raises(ServiceUnavailableError):
                await client.get_asset("a-1")
    assert [(record.endpoint, record.status) for record in records] == [
        *((endpoint, GOOD_REPLIES[endpoint][0]) for endpoint in CALL_BY_ENDPOINT),
        (Endpoint.GET_ASSET, 0),
    ]
    assert records[0].size == len(server.received[0].body) and records[1].size == 0
    for secret in (API_KEY, "s3cr3t", "t0k3n", "Signature"):
        assert secret not in caplog.text + repr(records)


async def test_a_cancelled_call_leaves_the_client_usable() -> None:
    def script(seen: ReceivedRequest) -> ScriptedReply:
        return ScriptedReply(fault="hang") if len(server.received) == 1 else good_reply(Endpoint.GET_ASSET)

    async with FaultServer(script) as server, open_client(server.url) as client:
        call = asyncio.create_task(client.get_asset("a-1"))
        await until(lambda: server.active_requests)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await client.get_asset("a-1")


def test_every_error_code_is_explained() -> None:
    assert set(outcomes._NOT_FOUND.values()) | outcomes._SERVICE_CODES <= set(PROBLEMS)
