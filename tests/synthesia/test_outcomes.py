"""What every answer to a paid request means for it: accepted, refused, or unknown, which only the user sends again.

`docs/answers.md` holds the same table for people, and is held against it here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from synthdub_tui.errors import Trouble
from synthdub_tui.synthesia.client import KeyRejected, NotSent, Refused, Unclear
from synthdub_tui.synthesia.errors import AccountRefused
from synthdub_tui.synthesia.rate_gate import Endpoint

from .fault_server import FaultServer, Reply
from .test_client import CALLS, GOOD, HASTY, PAID, opened

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "answers.md"

ACCEPTED, REFUSED, UNKNOWN = "accepted", "refused", "unknown"
NOT_ACCEPTED: Final = (KeyRejected, AccountRefused, Refused, NotSent)
JSON: Final = {"Content-Type": "application/json"}
LIMITED: Final = {"RateLimit-Limit": "60", "RateLimit-Reset": "20"}

PAGE: Final = b"<html><body>Something</body></html>"
ERROR: Final = b'{"error": "No", "context": "so it is"}'
LANGUAGES: Final = b'{"dubbedErrors": [{"language": "fr-FR", "error": "unsupported"}]}'

BODIES: Final[Mapping[str, tuple[Reply, ...]]] = {
    "error of the API": (Reply(body=ERROR),),
    "other JSON": (
        Reply(body=b'{"message": "upstream timeout", "status": "error"}'),
        Reply(body=b'{"detail": [{"loc": 1}]}'),
        Reply(body=b"{}"),
    ),
    "no such JSON": (
        Reply(body=b"Slow down", headers={"Content-Type": "text/plain"}),
        Reply(body=ERROR, cut=10, headers={"Content-Length": ""}),  # nothing tells that it was cut
        Reply(body=b"[1]"),
        Reply(body=b'"no"'),
        Reply(body=b'{"error": {"code": 5}}'),
        Reply(body=b'{"error": "", "dubbedErrors": "no"}'),
    ),
    "web page": (Reply(body=PAGE, headers={"Content-Type": "text/html"}), Reply(body=PAGE)),
    "nothing": (Reply(), Reply(headers={"Content-Type": "text/plain"})),
    "cut off": (
        Reply(body=ERROR, cut=10),
        Reply(body=ERROR, cut=10, fault="reset_body"),
        Reply(body=ERROR, length=len(ERROR) + 9, fault="hang_body"),
    ),
}
"""What comes with a status, by its name in the table; several of one kind mean the same."""

COLUMNS: Final = ("answer of the API", *BODIES)

_NEVER = (UNKNOWN,) * len(COLUMNS)
_SAYS_NO = (UNKNOWN, REFUSED, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
_LIMITED = (REFUSED, REFUSED, REFUSED, REFUSED, UNKNOWN, REFUSED, UNKNOWN)

TABLE: Final[dict[str, tuple[str, ...]]] = {
    "200, 201, 202": (ACCEPTED, *_NEVER[1:]),
    "301, 302, 303, 307, 308": _NEVER,
    "400, 401, 402, 403, 404, 415, 422": _SAYS_NO,
    "405, 406, 408, 409, 410, 411, 413, 418, 421, 423, 425, 431, 451": _NEVER,
    "429": _SAYS_NO,
    "429 with `RateLimit-Limit`, `RateLimit-Reset` or `Retry-After`": _LIMITED,
    "500, 501, 502, 503, 504, 520, 599": _NEVER,
}
"""Statuses → what it means with each of COLUMNS."""

BROKEN: Final[dict[str, str]] = {
    "the connection is refused, or the host unknown": REFUSED,
    "TLS cannot be agreed on": REFUSED,
    "reset once connected": UNKNOWN,
    "reset within the request": UNKNOWN,
    "reset after the request": UNKNOWN,
    "closed without an answer": UNKNOWN,
    "no answer in time": UNKNOWN,
}
"""Where a connection breaks before a status arrives."""


async def outcome(endpoint: Endpoint, server: FaultServer, url: str = "") -> str:
    """What one paid request to this server comes to."""
    async with opened(url or server.url, timeouts=HASTY) as client:
        try:
            await CALLS[endpoint](client)
        except NOT_ACCEPTED:
            result = REFUSED
        except Unclear as trouble:
            assert trouble.code == "submission_unknown"
            result = UNKNOWN
        else:
            result = ACCEPTED
    assert server.accepted <= 1, "a call is never repeated by the client"
    return result


def replies(endpoint: Endpoint, column: str) -> tuple[Reply, ...]:
    if column == COLUMNS[0]:
        return (Reply(body=json.dumps(GOOD[endpoint][1]).encode(), headers=JSON),)
    return BODIES[column]


@pytest.mark.parametrize("endpoint", PAID)
@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", TABLE)
async def test_what_an_answer_means_for_a_paid_request(row: str, column: str, endpoint: Endpoint) -> None:
    expected = TABLE[row][COLUMNS.index(column)]
    added = LIMITED if "with" in row else {}
    for status in map(int, row.partition(" with")[0].split(", ")):
        for reply in replies(endpoint, column):
            sent = Reply(status, reply.body, reply.headers | added, reply.length, reply.cut, reply.fault)
            async with FaultServer(lambda seen, sent=sent: sent) as server:  # type: ignore[misc]
                assert await outcome(endpoint, server) == expected, (status, reply)


@pytest.mark.parametrize("endpoint", PAID)
@pytest.mark.parametrize("header", ["RateLimit-Limit", "RateLimit-Reset", "Retry-After"])
async def test_a_429_needs_only_one_header_of_a_rate_limit(header: str, endpoint: Endpoint) -> None:
    async with FaultServer(lambda seen: Reply(429, headers={header: "20"})) as server:
        assert await outcome(endpoint, server) == REFUSED


@pytest.mark.parametrize("endpoint", PAID)
@pytest.mark.parametrize("where", BROKEN)
async def test_where_a_connection_breaks(where: str, endpoint: Endpoint) -> None:
    script: dict[str, Callable[[], FaultServer]] = {
        "reset once connected": lambda: FaultServer(on_accept="reset"),
        "reset within the request": lambda: FaultServer(on_accept="reset_in_request"),
        "reset after the request": lambda: FaultServer(lambda seen: Reply(fault="reset")),
        "closed without an answer": lambda: FaultServer(lambda seen: Reply(cut=0, length=5)),
        "no answer in time": lambda: FaultServer(lambda seen: Reply(fault="hang")),
    }
    async with script.get(where, FaultServer)() as server:
        url = f"https://127.0.0.1:{server.port}" if "TLS" in where else ""
        if "refused" in where:
            server._server.close()
            await server._server.wait_closed()
        assert await outcome(endpoint, server, url) == BROKEN[where]


@pytest.mark.parametrize("endpoint", PAID)
async def test_204_says_that_a_project_has_all_languages_already(endpoint: Endpoint) -> None:
    async with FaultServer(lambda seen: Reply(204)) as server:
        assert await outcome(endpoint, server) == (ACCEPTED if endpoint is Endpoint.ADD_LOCALES else UNKNOWN)


@pytest.mark.parametrize(("status", "means"), [(202, ACCEPTED), (400, REFUSED), (409, UNKNOWN), (500, UNKNOWN)])
async def test_a_put_may_name_the_languages_that_it_refused(status: int, means: str) -> None:
    async with FaultServer(lambda seen: Reply(status, LANGUAGES)) as server:
        assert await outcome(Endpoint.ADD_LOCALES, server) == means


@pytest.mark.parametrize("endpoint", PAID)
@pytest.mark.parametrize("status", [400, 403, 422])
async def test_moderation_is_believed_in_any_form_of_json(status: int, endpoint: Endpoint) -> None:
    said = b'{"message": "The content was flagged by our review"}'
    async with FaultServer(lambda seen: Reply(status, said)) as server, opened(server.url) as client:
        with pytest.raises(Refused) as caught:
            await CALLS[endpoint](client)
    assert caught.value.code == "moderation"


@pytest.mark.parametrize("endpoint", PAID)
async def test_a_refused_key_stops_all_further_calls_although_its_own_request_is_unknown(endpoint: Endpoint) -> None:
    async with FaultServer(lambda seen: Reply(401, PAGE)) as server, opened(server.url) as client:
        for expected in (Unclear, KeyRejected):
            with pytest.raises(Trouble) as caught:
                await CALLS[endpoint](client)
            assert type(caught.value) is expected
    assert server.accepted == 1


def test_the_document_holds_the_same_table() -> None:
    assert tables() in DOCUMENT.read_text()


def tables() -> str:
    """The tables as markdown."""
    lines = [_row("status", *COLUMNS), _row(*["---"] * (len(COLUMNS) + 1))]
    lines += [_row(row, *cells) for row, cells in TABLE.items()]
    lines += ["", _row("before a status arrives", "means"), _row("---", "---")]
    lines += [_row(where, means) for where, means in BROKEN.items()]
    return "\n".join(lines)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
