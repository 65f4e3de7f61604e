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

from synthdub_tui.errors import Trouble
from synthdub_tui.problems import KNOWN
from synthdub_tui.synthesia import outcomes
from synthdub_tui.synthesia.client import (
    BODY_LIMIT,
    CallRecord,
    Client,
    KeyRejected,
    NotSent,
    Refused,
    Timeouts,
    Unavailable,
    Unclear,
)
from synthdub_tui.synthesia.errors import AccountRefused
from synthdub_tui.synthesia.rate_gate import TIERS, Endpoint, Limit, Priority, Quota, Tier
from synthdub_tui.synthesia.schema import AssetStatus, ProjectStatus
from tests.waiting import patience, until

from .fault_server import FaultServer, Reply, Seen, answer, html
from .test_schema import ADDED, ASSET, CREATED, ENTRY, PROJECT, PROJECT_ID

KEY = "k3y-of-the-tests"
DOCUMENT = json.loads((Path(__file__).parent.parent / "data" / "openapi.json").read_text())
HASTY = Timeouts(read=0.05, write=0.05)

OPTIONS: dict[str, Any] = {"targets": ["fr-FR", "es-ES"], "lipsync": True, "video_duration": "original", "visibility": "public"}

CALLS: dict[Endpoint, Callable[[Client], Awaitable[object]]] = {
    Endpoint.CREATE_ASSET: lambda c: c.create_asset(title="Intro", content_type="video/mp4", size=7),
    Endpoint.GET_ASSET: lambda c: c.get_asset("a-1"),
    Endpoint.CREATE_DUBBING: lambda c: c.create_dubbing(title="Intro", asset="a-1", source_language="en", **OPTIONS),
    Endpoint.GET_DUBBING: lambda c: c.get_project("p-1"),
    Endpoint.ADD_LOCALES: lambda c: c.add_locales("p-1", **OPTIONS),
}
GOOD: dict[Endpoint, tuple[int, object]] = {
    Endpoint.CREATE_ASSET: (201, CREATED),
    Endpoint.GET_ASSET: (200, ASSET),
    Endpoint.CREATE_DUBBING: (202, PROJECT_ID),
    Endpoint.GET_DUBBING: (200, PROJECT),
    Endpoint.ADD_LOCALES: (202, ADDED),
}
PAID = (Endpoint.CREATE_DUBBING, Endpoint.ADD_LOCALES)
each_endpoint = pytest.mark.parametrize("endpoint", list(Endpoint))


def good(endpoint: Endpoint) -> Reply:
    return answer(*GOOD[endpoint])


@asynccontextmanager
async def opened(url: str, *, key: str = KEY, tier: Tier = TIERS["unlimited"], **more: Any) -> AsyncIterator[Client]:
    client = Client(url, key, Quota(tier), **more)
    try:
        yield client
    finally:
        await client.close()


async def failure(reply: Reply, endpoint: Endpoint, *, timeouts: Timeouts | None = None, on_accept: str = "") -> Trouble:
    """The trouble that this answer gives to this call, made once; none of it may hold the key."""
    async with FaultServer(lambda seen: reply, on_accept) as server, opened(server.url, timeouts=timeouts) as client:
        with pytest.raises(Trouble) as caught:
            await CALLS[endpoint](client)
        assert server.accepted == 1, "a call is never repeated by the client"
    trouble = caught.value
    assert KEY not in f"{trouble!r} {trouble} {trouble.__cause__!r}"
    assert trouble.code in KNOWN
    return trouble


def assert_lost(trouble: Trouble, endpoint: Endpoint, code: str) -> None:
    """A read is unavailable, a paid write asks the user, an unpaid one says why."""
    kind = Unclear if endpoint.write else Unavailable
    assert (type(trouble), trouble.code) == (kind, "submission_unknown" if endpoint in PAID else code)


def used(client: Client, endpoint: Endpoint) -> set[int]:
    """Calls that count, in any window."""
    return {window.used for window in client._quota.usage()[endpoint].windows}


def assert_untaken(trouble: Trouble, endpoint: Endpoint, code: str) -> None:
    assert (type(trouble), trouble.code) == (NotSent if endpoint.write else Unavailable, code)


# -- what is sent ------------------------------------------------------------------------------------------------------

SCHEMAS = {
    Endpoint.CREATE_ASSET: "CreateAssetRequest",
    Endpoint.CREATE_DUBBING: "CreateDubbingProjectApiRequestFromSourceAssetId",
    Endpoint.ADD_LOCALES: "AddLocalesToDubbingProjectRequest",
}
TARGETS = {
    Endpoint.CREATE_ASSET: ("POST", "/v2/assets"),
    Endpoint.GET_ASSET: ("GET", "/v2/assets/a-1"),
    Endpoint.CREATE_DUBBING: ("POST", "/v2/dubbing"),
    Endpoint.GET_DUBBING: ("GET", "/v2/dubbing/p-1"),
    Endpoint.ADD_LOCALES: ("PUT", "/v2/dubbing/p-1"),
}


@each_endpoint
async def test_what_is_sent(endpoint: Endpoint) -> None:
    async with FaultServer(lambda seen: good(endpoint)) as server, opened(server.url) as client:
        await CALLS[endpoint](client)
    (seen,) = server.seen
    assert (seen.method, seen.target) == TARGETS[endpoint]
    assert seen.headers["authorization"] == KEY
    assert seen.headers["user-agent"].startswith("synthdub-tui/")
    assert seen.headers["host"] == f"127.0.0.1:{server.port}"
    assert seen.headers.get("content-type") == ("application/json" if endpoint.write else None)
    if endpoint.write:
        reference = {"$ref": f"#/components/schemas/{SCHEMAS[endpoint]}", "components": DOCUMENT["components"]}
        jsonschema.Draft202012Validator(reference).validate(seen.json)


async def test_bodies_in_full() -> None:
    async with FaultServer(lambda seen: answer(500)) as server, opened(server.url) as client:
        for endpoint in SCHEMAS:
            with pytest.raises(Unclear):
                await CALLS[endpoint](client)
    options = {
        "targetLanguages": ["fr-FR", "es-ES"],
        "lipsyncEnabled": True,
        "videoDuration": "original",
        "visibility": "public",
    }
    assert [seen.json for seen in server.seen] == [
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
    script = {target: good(endpoint) for endpoint, target in TARGETS.items()}
    async with FaultServer(lambda seen: script[seen.method, seen.target]) as server, opened(server.url + "/") as client:
        created = await client.create_asset(title="T", content_type="video/mp4", size=1)
        assert (created.id, created.credentials.bucket) == ("a-1", "b")
        assert (await client.get_asset("a-1", priority=Priority.USER)).status is AssetStatus.READY
        assert await CALLS[Endpoint.CREATE_DUBBING](client) == "p-1"
        assert (await client.get_project("p-1", priority=Priority.USER)).status is ProjectStatus.COMPLETE
        added = await client.add_locales("p-1", **OPTIONS)
        assert not added.nothing_new and added.refused == (("xx", "no"),)


async def test_nothing_new() -> None:
    async with FaultServer(lambda seen: Reply(204)) as server, opened(server.url) as client:
        assert (await client.add_locales("p-1", **OPTIONS)).nothing_new


@pytest.mark.parametrize("wrong", ["", "..", "a/b", "a%2Fb", "a?b", "x" * 129, "ä", "a\n"])
async def test_an_id_that_is_none_is_not_sent(wrong: str) -> None:
    async with FaultServer() as server, opened(server.url) as client:
        for call in (client.get_asset(wrong), client.get_project(wrong), client.add_locales(wrong, **OPTIONS)):
            with pytest.raises(Refused) as caught:
                await call
            assert caught.value.status == 0
        with pytest.raises(Refused):
            await client.create_dubbing(title="T", asset=wrong, source_language="en", **OPTIONS)
    assert server.accepted == 0


# -- broken connections ------------------------------------------------------------------------------------------------


@each_endpoint
async def test_refused_connection(endpoint: Endpoint) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with opened(f"http://127.0.0.1:{unused.getsockname()[1]}", tier=TIERS["creator"]) as client:
            with pytest.raises(Trouble) as caught:
                await CALLS[endpoint](client)
            assert used(client, endpoint) == {0}  # the service has not counted it either
    assert_untaken(caught.value, endpoint, "service_unreachable")


@each_endpoint
async def test_unknown_host(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with opened("https://nowhere.invalid") as client:
        with pytest.raises(Trouble) as caught:
            await CALLS[endpoint](client)
    assert_untaken(caught.value, endpoint, "service_unreachable")


@each_endpoint
async def test_connect_timeout(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: object, **__: object) -> object:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    async with opened("http://localhost:9", timeouts=Timeouts(connect=0.02)) as client:
        with pytest.raises(Trouble) as caught:
            await CALLS[endpoint](client)
    assert_untaken(caught.value, endpoint, "service_unreachable")


@each_endpoint
async def test_tls_that_fails(endpoint: Endpoint) -> None:
    async with FaultServer() as server, opened(f"https://127.0.0.1:{server.port}") as client:
        with pytest.raises(Trouble) as caught:
            await CALLS[endpoint](client)
    assert_untaken(caught.value, endpoint, "service_unreachable")
    assert not server.seen


@each_endpoint
@pytest.mark.parametrize("on_accept", ["reset", "reset_in_request"])
async def test_reset_before_and_within_the_request(endpoint: Endpoint, on_accept: str) -> None:
    assert_lost(await failure(Reply(), endpoint, on_accept=on_accept), endpoint, "service_unreachable")


BROKEN = {
    "reset after the request": Reply(fault="reset"),
    "closed without an answer": Reply(fault="", headers={}, status=200, body=b"", cut=0, length=5),
    "hangs": Reply(fault="hang"),
    "truncated": Reply(body=b'{"id": "a-1"}', cut=5),
    "reset within the body": Reply(body=b'{"id": "a-1"}', cut=5, fault="reset_body"),
    "hangs within the body": Reply(body=b'{"id": "a-1"}', cut=5, fault="hang_body"),
    "length too long": Reply(body=b"{}", length=50, fault="hang_body"),
}
UNUSABLE = {
    "truncated without a length": Reply(body=b'{"id": "a-1"}', cut=5, headers={"Content-Length": ""}),
    "length too short": Reply(body=json.dumps(PROJECT).encode(), length=20),
    "wrong JSON": answer(200, {"hello": "world"}),
    "a list": answer(200, [1, 2]),
    "empty": answer(200),
    "nested": Reply(body=b"[" * 200_000),
    "too large": Reply(body=b'"' + b"x" * BODY_LIMIT + b'"'),
    "a bomb": Reply(body=gzip.compress(b" " * (4 * BODY_LIMIT)), headers={"Content-Encoding": "gzip"}),
    "unknown encoding": Reply(body=b"{}", headers={"Content-Encoding": "br"}),
    "damaged gzip": Reply(body=b"{}", headers={"Content-Encoding": "gzip"}),
    "half a gzip": Reply(body=gzip.compress(json.dumps(ENTRY).encode())[:-20], headers={"Content-Encoding": "gzip"}),
}


@each_endpoint
@pytest.mark.parametrize("name", BROKEN)
async def test_broken_answers(endpoint: Endpoint, name: str) -> None:
    trouble = await failure(BROKEN[name], endpoint, timeouts=HASTY)
    assert_lost(trouble, endpoint, "service_unreachable")


@each_endpoint
@pytest.mark.parametrize("name", UNUSABLE)
async def test_answers_that_cannot_be_understood(endpoint: Endpoint, name: str) -> None:
    assert_lost(await failure(UNUSABLE[name], endpoint), endpoint, "service_answer")


@each_endpoint
async def test_web_page_instead_of_an_answer(endpoint: Endpoint) -> None:
    assert_lost(await failure(html(200), endpoint), endpoint, "service_down")


@each_endpoint
async def test_an_answer_that_trickles(endpoint: Endpoint) -> None:
    """Each read is in time, the whole is not."""
    hasty = Timeouts(read=5, write=5, read_total=0.05, write_total=0.05)
    assert_lost(await failure(Reply(fault="hang"), endpoint, timeouts=hasty), endpoint, "service_unreachable")


@each_endpoint
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_compressed_without_being_asked(endpoint: Endpoint, encoding: str) -> None:
    reply = good(endpoint)
    reply.body = gzip.compress(reply.body) if encoding == "gzip" else zlib.compress(reply.body)
    reply.headers["Content-Encoding"] = encoding
    async with FaultServer(lambda seen: reply) as server, opened(server.url) as client:
        await CALLS[endpoint](client)


# -- answers that say no -----------------------------------------------------------------------------------------------


@each_endpoint
@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
@pytest.mark.parametrize("page", [True, False])
async def test_server_errors(endpoint: Endpoint, status: int, page: bool) -> None:
    reply = html(status, Retry_After="17") if page else answer(status, {"error": "oops"}, Retry_After="17")
    trouble = await failure(reply, endpoint)
    assert_lost(trouble, endpoint, "service_down")
    if isinstance(trouble, Unavailable):
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
    quota = Quota(TIERS["unlimited"])
    reply = Reply(429, b'{"error": "slow down"}', headers)
    async with FaultServer(lambda seen: reply) as server:
        client = Client(server.url, KEY, quota)
        with pytest.raises(Trouble) as caught:
            await CALLS[endpoint](client)
        await client.close()
    assert_untaken(caught.value, endpoint, "rate_limited")
    assert caught.value.retry_after == wait  # type: ignore[attr-defined]
    assert quota.next_free(endpoint) == pytest.approx(wait, abs=1)
    assert all(quota.next_free(other) == 0 for other in Endpoint if other is not endpoint)


@pytest.mark.parametrize("endpoint", [each for each in Endpoint if each not in PAID])
@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (answer(408), "service_down"),
        (answer(425), "service_down"),
        (html(403), "service_down"),
        (html(404), "service_answer"),
    ],
)
async def test_what_costs_nothing_and_was_hardly_taken_may_be_repeated(endpoint: Endpoint, reply: Reply, code: str) -> None:
    """Of paid requests it is not known, see test_answers."""
    assert_untaken(await failure(reply, endpoint), endpoint, code)


@each_endpoint
async def test_redirects_are_not_followed(endpoint: Endpoint) -> None:
    async with FaultServer() as other:
        reply = answer(307, None, Location=f"{other.url}/v2/stolen")
        trouble = await failure(reply, endpoint)
        assert other.accepted == 0
    if endpoint is Endpoint.CREATE_ASSET:
        assert (type(trouble), trouble.code) == (Refused, "service_answer")
    else:
        assert_lost(trouble, endpoint, "service_answer")


REFUSALS: list[tuple[Endpoint, Reply, str]] = [
    (Endpoint.CREATE_ASSET, answer(415, {"error": "Unsupported Media Type"}), "media_type"),
    (Endpoint.CREATE_ASSET, answer(415), "media_type"),
    (Endpoint.CREATE_ASSET, html(415), "media_type"),
    (Endpoint.CREATE_ASSET, answer(400, {"error": "Unsupported media type."}), "media_type"),
    (Endpoint.CREATE_ASSET, answer(400, {"error": "title too odd"}), "request_refused"),
    (Endpoint.CREATE_ASSET, answer(404, {"error": "what?"}), "service_answer"),
    (Endpoint.GET_ASSET, answer(404, {"error": "Not Found"}), "asset_not_found"),
    (Endpoint.GET_ASSET, answer(410), "asset_not_found"),
    (Endpoint.CREATE_ASSET, answer(501, {"error": "Not implemented yet"}), "request_refused"),
    (Endpoint.CREATE_ASSET, html(400), "request_refused"),
    (Endpoint.CREATE_ASSET, Reply(400, b'{"error": "x"}', cut=3), "request_refused"),
    (Endpoint.CREATE_DUBBING, answer(404, {"error": "Not Found"}), "asset_not_found"),
    (Endpoint.CREATE_DUBBING, answer(400, {"error": "BrokenAssetUrlError", "context": "c"}), "BrokenAssetUrlError"),
    (Endpoint.CREATE_DUBBING, answer(400, {"error": "Failed", "context": "BrokenAssetUrlError: x"}), "BrokenAssetUrlError"),
    (Endpoint.CREATE_DUBBING, answer(400, {"error": "moderation"}), "moderation"),
    (Endpoint.CREATE_DUBBING, answer(400, {"error": "media type"}), "request_refused"),
    (Endpoint.CREATE_DUBBING, answer(422, {"error": "Unprocessable"}), "request_refused"),
    (Endpoint.GET_DUBBING, answer(404, {"error": "Not Found"}), "project_not_found"),
    (Endpoint.GET_DUBBING, answer(400, {"error": "Invalid dubbing project"}), "request_refused"),
    (Endpoint.ADD_LOCALES, answer(404, {"error": "Not Found"}), "project_not_found"),
]


@pytest.mark.parametrize("endpoint", [each for each in Endpoint if each.write])
@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (answer(402, {"error": "no credits"}), "no credits"),
        (answer(403, {"error": "Forbidden", "context": "Your plan does not include dubbing"}), "does not include dubbing"),
        (answer(403, {"error": "InsufficientCredits"}), "InsufficientCredits"),
    ],
)
async def test_refusals_for_what_the_account_has(endpoint: Endpoint, reply: Reply, words: str) -> None:
    """They are about no file, and not about the key: other calls go on."""
    replies = [reply, good(Endpoint.GET_ASSET)]
    async with FaultServer(lambda seen: replies.pop(0)) as server, opened(server.url) as client:
        with pytest.raises(AccountRefused) as caught:
            await CALLS[endpoint](client)
        assert caught.value.code == "account_refused"
        assert words in caught.value.detail
        await CALLS[Endpoint.GET_ASSET](client)


@pytest.mark.parametrize(("endpoint", "reply", "code"), REFUSALS)
async def test_refusals(endpoint: Endpoint, reply: Reply, code: str) -> None:
    trouble = await failure(reply, endpoint)
    assert isinstance(trouble, Refused)
    assert (trouble.code, trouble.status) == (code, reply.status)


@pytest.mark.parametrize("endpoint", [each for each in Endpoint if each.write])
@pytest.mark.parametrize("status", [400, 403, 422])
@pytest.mark.parametrize(
    ("error", "context"),
    [("content_moderation", ""), ("Forbidden", "The content was flagged"), ("Bad request", "No credits for rejected content")],
)
async def test_a_refusal_for_content_is_moderation_and_not_about_the_key_or_the_account(
    endpoint: Endpoint, status: int, error: str, context: str
) -> None:
    replies = [answer(status, {"error": error, "context": context}), good(Endpoint.GET_ASSET)]
    async with FaultServer(lambda seen: replies.pop(0)) as server, opened(server.url) as client:
        with pytest.raises(Refused) as caught:
            await CALLS[endpoint](client)
        assert caught.value.code == "moderation"
        await CALLS[Endpoint.GET_ASSET](client)


async def test_refused_languages() -> None:
    reply = answer(400, {"dubbedErrors": [{"language": "xx-XX", "error": "unsupported"}, {"language": None, "error": "odd"}]})
    trouble = await failure(reply, Endpoint.CREATE_DUBBING)
    assert isinstance(trouble, Refused)
    assert trouble.code == "language_refused"
    assert trouble.languages == (("xx-XX", "unsupported"), ("", "odd"))
    assert "xx-XX: unsupported" in trouble.detail


async def test_words_of_the_service_hold_neither_key_nor_signature() -> None:
    said = f"key {KEY} at https://s3.example/x?X-Amz-Signature=abc \x1b[2J"
    trouble = await failure(answer(400, {"error": said, "dubbedErrors": [{"error": said}]}), Endpoint.ADD_LOCALES)
    assert isinstance(trouble, Refused)
    shown = f"{trouble.detail} {trouble.languages}"
    assert "https://s3.example/x" in shown
    assert not any(secret in shown for secret in (KEY, "abc", "\x1b"))


# -- the intent before a paid call -------------------------------------------------------------------------------------

PAID_CALLS: list[Callable[..., Awaitable[object]]] = [
    lambda c, **hook: c.create_dubbing(title="T", asset="a-1", source_language="en", **OPTIONS, **hook),
    lambda c, **hook: c.add_locales("p-1", **OPTIONS, **hook),
]


@pytest.mark.parametrize("call", PAID_CALLS)
async def test_the_intent_comes_when_the_quota_allows_and_before_the_request(call: Callable[..., Awaitable[object]]) -> None:
    arrived: list[int] = []

    async with FaultServer(lambda seen: answer(202, PROJECT_ID | ADDED)) as server:

        async def intend() -> None:
            arrived.append(len(server.seen))

        tier = Tier("test", (Limit(2, 3600),))
        async with opened(server.url, tier=tier) as client:
            await call(client, before_send=intend)
            waiting = asyncio.create_task(call(client, before_send=intend))
            await asyncio.sleep(0.02)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
    assert arrived == [0]
    assert len(server.seen) == 1


@pytest.mark.parametrize("call", PAID_CALLS)
async def test_without_an_intent_nothing_is_sent(call: Callable[..., Awaitable[object]]) -> None:
    async def fail() -> None:
        raise OSError(28, "No space left on device")

    async with FaultServer() as server, opened(server.url) as client:
        with pytest.raises(OSError, match="No space"):
            await call(client, before_send=fail)
    assert server.accepted == 0


async def test_no_intent_for_what_is_not_sent() -> None:
    async def intend() -> None:
        raise AssertionError

    async with FaultServer() as server:
        async with opened(server.url, key="") as client:
            for call in PAID_CALLS:
                with pytest.raises(KeyRejected):
                    await call(client, before_send=intend)
        async with opened(server.url) as client:
            with pytest.raises(Refused):
                await client.add_locales("a/b", **OPTIONS, before_send=intend)
    assert server.accepted == 0


async def test_a_key_rejected_while_the_intent_is_written() -> None:
    async with FaultServer(lambda seen: good(Endpoint.GET_ASSET)) as server, opened(server.url) as client:
        await client.get_asset("a-1")
        server.script = lambda seen: answer(401)

        async def intend() -> None:
            with pytest.raises(KeyRejected):
                await client.get_asset("a-1")

        with pytest.raises(KeyRejected):
            await PAID_CALLS[0](client, before_send=intend)
    assert len(server.seen) == 2


# -- the key -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", [answer(401), answer(403, {"error": "Forbidden"}), answer(403), html(401)])
async def test_a_wrong_key_costs_one_request(reply: Reply) -> None:
    async with FaultServer(lambda seen: reply) as server, opened(server.url, tier=TIERS["creator"]) as client:
        calls = [call(client) for _ in range(4) for call in CALLS.values()]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert len(results) == 20
        assert all(type(result) is KeyRejected and result.code == "key_rejected" for result in results)
        assert len(server.seen) == 1
        server.script = lambda seen: good(Endpoint.GET_ASSET)
        with pytest.raises(KeyRejected):
            await client.get_asset("a-1")
        client.reset_key("another")
        await client.get_asset("a-1")
    assert [seen.headers["authorization"] for seen in server.seen] == [KEY, "another"]


async def test_until_the_key_is_known_to_be_good_calls_go_one_by_one() -> None:
    async with FaultServer(lambda seen: good(Endpoint.GET_ASSET)) as server, opened(server.url) as client:
        server.hold = asyncio.Event()
        calls = [asyncio.create_task(client.get_asset("a-1")) for _ in range(20)]
        await until(lambda: server.active)
        await asyncio.sleep(0.01)
        assert server.active == 1
        server.hold.set()
        await asyncio.gather(*calls)
        server.hold.clear()
        calls = [asyncio.create_task(client.get_asset("a-1")) for _ in range(8)]
        await until(lambda: server.active == 8)
        server.hold.set()
        await asyncio.gather(*calls)
    assert len(server.seen) == 28


async def test_a_paused_endpoint_does_not_hold_up_the_first_call_of_another() -> None:
    async with FaultServer(lambda seen: good(Endpoint.GET_DUBBING)) as server, opened(server.url) as client:
        client._quota.pause(Endpoint.CREATE_ASSET, 3600)
        waiting = asyncio.create_task(CALLS[Endpoint.CREATE_ASSET](client))
        await asyncio.sleep(0)
        await asyncio.wait_for(client.get_project("p-1"), patience())
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_rejection_later_frees_those_who_wait_for_the_quota() -> None:
    tier = Tier("test", (), (Limit(2, 3600),))
    async with FaultServer(lambda seen: good(Endpoint.GET_ASSET)) as server, opened(server.url, tier=tier) as client:
        await client.get_asset("a-1")
        waiting = [asyncio.create_task(client.get_asset("a-1")) for _ in range(5)]
        await asyncio.sleep(0)
        server.script = lambda seen: answer(401)
        with pytest.raises(KeyRejected):
            await CALLS[Endpoint.CREATE_ASSET](client)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, KeyRejected) for result in results)
    assert len(server.seen) == 2


async def test_an_answer_to_the_old_key_says_nothing_about_the_new() -> None:
    async with FaultServer(lambda seen: answer(401)) as server, opened(server.url) as client:
        server.hold = asyncio.Event()
        old = asyncio.create_task(client.get_asset("a-1"))
        await until(lambda: server.active)
        client.reset_key("another")
        server.hold.set()
        with pytest.raises(KeyRejected):
            await old
        server.script = lambda seen: good(Endpoint.GET_ASSET)
        await client.get_asset("a-1")


@pytest.mark.parametrize(
    ("key", "code"), [("", "no_key"), (" \n", "no_key"), ("a\r\nX: y", "key_rejected"), ("kéy", "key_rejected")]
)
async def test_a_key_that_is_none_is_not_sent(key: str, code: str) -> None:
    async with FaultServer() as server, opened(server.url, key=key) as client:
        with pytest.raises(KeyRejected) as caught:
            await client.get_asset("a-1")
        assert caught.value.code == code
        assert server.accepted == 0


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
def test_addresses_that_will_not_do(url: str) -> None:
    with pytest.raises(Trouble) as caught:
        Client(url, KEY, Quota(TIERS["creator"]))
    assert caught.value.code == "url_invalid"
    assert "pass@" not in str(caught.value)


# -- connections, records, logs ----------------------------------------------------------------------------------------


async def test_a_write_never_reuses_a_connection_and_a_read_does() -> None:
    script = {target: good(endpoint) for endpoint, target in TARGETS.items()}
    async with FaultServer(lambda seen: script[seen.method, seen.target]) as server, opened(server.url) as client:
        for endpoint in (Endpoint.GET_DUBBING, *SCHEMAS, *SCHEMAS, Endpoint.GET_DUBBING):
            await CALLS[endpoint](client)
    connections = [seen.connection for seen in server.seen]
    assert connections[0] == connections[-1]
    assert len(set(connections)) == 7
    assert {seen.headers["connection"] for seen in server.seen if seen.method != "GET"} == {"close"}


async def test_no_proxy_towards_this_machine_and_no_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with FaultServer(lambda seen: good(Endpoint.GET_ASSET)) as server, opened(server.url) as client:
        await client.get_asset("a-1")
    assert server.seen[0].headers["authorization"] == KEY


async def test_through_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with FaultServer(lambda seen: answer(407)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        async with opened("https://api.example") as client:
            with pytest.raises(NotSent) as caught:
                await CALLS[Endpoint.CREATE_DUBBING](client)
    assert caught.value.code == "service_unreachable"
    assert "authorization" not in proxy.seen[0].headers


async def test_records_and_logs_hold_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    records: list[CallRecord] = []
    script = {target: good(endpoint) for endpoint, target in TARGETS.items()}
    async with FaultServer(lambda seen: script[seen.method, seen.target]) as server:
        async with opened(server.url, on_call=records.append) as client:
            for call in CALLS.values():
                await call(client)
            assert KEY not in repr(client) + repr(vars(client)["_reader"])
        server.script = lambda seen: Reply(fault="reset")
        async with opened(server.url, on_call=records.append) as client:
            with pytest.raises(Unavailable):
                await client.get_asset("a-1")
    assert [(record.endpoint, record.status) for record in records] == [
        *((endpoint, GOOD[endpoint][0]) for endpoint in CALLS),
        (Endpoint.GET_ASSET, 0),
    ]
    assert records[0].size == len(server.seen[0].body) and records[1].size == 0
    for secret in (KEY, "s3cr3t", "t0k3n", "Signature"):
        assert secret not in caplog.text + repr(records)


async def test_a_cancelled_call_leaves_the_client_usable() -> None:
    def script(seen: Seen) -> Reply:
        return Reply(fault="hang") if len(server.seen) == 1 else good(Endpoint.GET_ASSET)

    async with FaultServer(script) as server, opened(server.url) as client:
        call = asyncio.create_task(client.get_asset("a-1"))
        await until(lambda: server.active)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await client.get_asset("a-1")


def test_every_error_code_is_explained() -> None:
    assert set(outcomes._NOT_FOUND.values()) | outcomes._SERVICE_CODES <= set(KNOWN)
