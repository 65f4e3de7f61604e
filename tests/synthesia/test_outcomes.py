"""What every answer to a paid request means for it: accepted, refused, or unknown, which only the user sends again.

`docs/answers.md` holds the same table for people, and is held against it here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from synthdub_tui.errors import ProblemError
from synthdub_tui.synthesia.client import InvalidApiKeyError, NotSentError, RequestRejectedError, UnknownOutcomeError
from synthdub_tui.synthesia.errors import AccountError
from synthdub_tui.synthesia.rate_gate import Endpoint

from .fault_server import FaultServer, ScriptedReply
from .test_client import CALL_BY_ENDPOINT, GOOD_REPLIES, PAID_ENDPOINTS, SHORT_TIMEOUTS, open_client

ANSWERS_DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "answers.md"

ACCEPTED_OUTCOME, REFUSED_OUTCOME, UNKNOWN_OUTCOME = "accepted", "refused", "unknown"
NOT_ACCEPTED_ERRORS: Final = (InvalidApiKeyError, AccountError, RequestRejectedError, NotSentError)
JSON_HEADERS: Final = {"Content-Type": "application/json"}
RATE_LIMIT_HEADERS: Final = {"RateLimit-Limit": "60", "RateLimit-Reset": "20"}

WEB_PAGE: Final = b"<html><body>Something</body></html>"
ERROR_BODY: Final = b'{"error": "No", "context": "so it is"}'
LANGUAGE_ERROR_BODY: Final = b'{"dubbedErrors": [{"language": "fr-FR", "error": "unsupported"}]}'

REPLIES_BY_COLUMN: Final[Mapping[str, tuple[ScriptedReply, ...]]] = {
    "error of the API": (ScriptedReply(body=ERROR_BODY),),
    "other JSON": (
        ScriptedReply(body=b'{"message": "upstream timeout", "status": "error"}'),
        ScriptedReply(body=b'{"detail": [{"loc": 1}]}'),
        ScriptedReply(body=b"{}"),
    ),
    "no such JSON": (
        ScriptedReply(body=b"Slow down", headers={"Content-Type": "text/plain"}),
        ScriptedReply(body=ERROR_BODY, cut_after_bytes=10, headers={"Content-Length": ""}),  # nothing tells that it was cut
        ScriptedReply(body=b"[1]"),
        ScriptedReply(body=b'"no"'),
        ScriptedReply(body=b'{"error": {"code": 5}}'),
        ScriptedReply(body=b'{"error": "", "dubbedErrors": "no"}'),
    ),
    "web page": (ScriptedReply(body=WEB_PAGE, headers={"Content-Type": "text/html"}), ScriptedReply(body=WEB_PAGE)),
    "nothing": (ScriptedReply(), ScriptedReply(headers={"Content-Type": "text/plain"})),
    "cut off": (
        ScriptedReply(body=ERROR_BODY, cut_after_bytes=10),
        ScriptedReply(body=ERROR_BODY, cut_after_bytes=10, fault="reset_body"),
        ScriptedReply(body=ERROR_BODY, announced_length=len(ERROR_BODY) + 9, fault="hang_body"),
    ),
}
"""What comes with a status, by its name in the table; several of one kind mean the same."""

COLUMNS: Final = ("answer of the API", *REPLIES_BY_COLUMN)

_NEVER = (UNKNOWN_OUTCOME,) * len(COLUMNS)
_SAYS_NO = (
    UNKNOWN_OUTCOME,
    REFUSED_OUTCOME,
    UNKNOWN_OUTCOME,
    UNKNOWN_OUTCOME,
    UNKNOWN_OUTCOME,
    UNKNOWN_OUTCOME,
    UNKNOWN_OUTCOME,
)
_LIMITED = (
    REFUSED_OUTCOME,
    REFUSED_OUTCOME,
    REFUSED_OUTCOME,
    REFUSED_OUTCOME,
    UNKNOWN_OUTCOME,
    REFUSED_OUTCOME,
    UNKNOWN_OUTCOME,
)

OUTCOME_TABLE: Final[dict[str, tuple[str, ...]]] = {
    "200, 201, 202": (ACCEPTED_OUTCOME, *_NEVER[1:]),
    "301, 302, 303, 307, 308": _NEVER,
    "400, 401, 402, 403, 404, 415, 422": _SAYS_NO,
    "405, 406, 408, 409, 410, 411, 413, 418, 421, 423, 425, 431, 451": _NEVER,
    "429": _SAYS_NO,
    "429 with `RateLimit-Limit`, `RateLimit-Reset` or `Retry-After`": _LIMITED,
    "500, 501, 502, 503, 504, 520, 599": _NEVER,
}
"""Statuses → what it means with each of COLUMNS."""

BROKEN_CONNECTION_TABLE: Final[dict[str, str]] = {
    "the connection is refused, or the host unknown": REFUSED_OUTCOME,
    "TLS cannot be agreed on": REFUSED_OUTCOME,
    "reset once connected": UNKNOWN_OUTCOME,
    "reset within the request": UNKNOWN_OUTCOME,
    "reset after the request": UNKNOWN_OUTCOME,
    "closed without an answer": UNKNOWN_OUTCOME,
    "no answer in time": UNKNOWN_OUTCOME,
}
"""Where a connection breaks before a status arrives."""


async def paid_outcome(endpoint: Endpoint, server: FaultServer, url: str = "") -> str:
    """What one paid request to this server comes to."""
    async with open_client(url or server.url, timeouts=SHORT_TIMEOUTS) as client:
        try:
            await CALL_BY_ENDPOINT[endpoint](client)
        except NOT_ACCEPTED_ERRORS:
            result = REFUSED_OUTCOME
        except UnknownOutcomeError as trouble:
            assert trouble.code == "submission_unknown"
            result = UNKNOWN_OUTCOME
        else:
            result = ACCEPTED_OUTCOME
    assert server.connection_count <= 1, "a call is never repeated by the client"
    return result


def replies_of(endpoint: Endpoint, column: str) -> tuple[ScriptedReply, ...]:
    if column == COLUMNS[0]:
        return (ScriptedReply(body=json.dumps(GOOD_REPLIES[endpoint][1]).encode(), headers=JSON_HEADERS),)
    return REPLIES_BY_COLUMN[column]


@pytest.mark.parametrize("endpoint", PAID_ENDPOINTS)
@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", OUTCOME_TABLE)
async def test_what_an_answer_means_for_a_paid_request(row: str, column: str, endpoint: Endpoint) -> None:
    expected = OUTCOME_TABLE[row][COLUMNS.index(column)]
    added = RATE_LIMIT_HEADERS if "with" in row else {}
    for status in map(int, row.partition(" with")[0].split(", ")):
        for reply in replies_of(endpoint, column):
            sent = ScriptedReply(
                status, reply.body, reply.headers | added, reply.announced_length, reply.cut_after_bytes, reply.fault
            )
            async with FaultServer(lambda seen, sent=sent: sent) as server:  # type: ignore[misc]
                assert await paid_outcome(endpoint, server) == expected, (status, reply)


@pytest.mark.parametrize("endpoint", PAID_ENDPOINTS)
@pytest.mark.parametrize("header", ["RateLimit-Limit", "RateLimit-Reset", "Retry-After"])
async def test_a_429_needs_only_one_header_of_a_rate_limit(header: str, endpoint: Endpoint) -> None:
    async with FaultServer(lambda seen: ScriptedReply(429, headers={header: "20"})) as server:
        assert await paid_outcome(endpoint, server) == REFUSED_OUTCOME


@pytest.mark.parametrize("endpoint", PAID_ENDPOINTS)
@pytest.mark.parametrize("where", BROKEN_CONNECTION_TABLE)
async def test_where_a_connection_breaks(where: str, endpoint: Endpoint) -> None:
    script: dict[str, Callable[[], FaultServer]] = {
        "reset once connected": lambda: FaultServer(on_accept="reset"),
        "reset within the request": lambda: FaultServer(on_accept="reset_in_request"),
        "reset after the request": lambda: FaultServer(lambda seen: ScriptedReply(fault="reset")),
        "closed without an answer": lambda: FaultServer(lambda seen: ScriptedReply(cut_after_bytes=0, announced_length=5)),
        "no answer in time": lambda: FaultServer(lambda seen: ScriptedReply(fault="hang")),
    }
    async with script.get(where, FaultServer)() as server:
        url = f"https://127.0.0.1:{server.port}" if "TLS" in where else ""
        if "refused" in where:
            server._server.close()
            await server._server.wait_closed()
        assert await paid_outcome(endpoint, server, url) == BROKEN_CONNECTION_TABLE[where]


@pytest.mark.parametrize("endpoint", PAID_ENDPOINTS)
async def test_204_says_that_a_project_has_all_languages_already(endpoint: Endpoint) -> None:
    async with FaultServer(lambda seen: ScriptedReply(204)) as server:
        assert await paid_outcome(endpoint, server) == (
            ACCEPTED_OUTCOME if endpoint is Endpoint.ADD_LOCALES else UNKNOWN_OUTCOME
        )


@pytest.mark.parametrize(
    ("status", "means"), [(202, ACCEPTED_OUTCOME), (400, REFUSED_OUTCOME), (409, UNKNOWN_OUTCOME), (500, UNKNOWN_OUTCOME)]
)
async def test_a_put_may_name_the_languages_that_it_refused(status: int, means: str) -> None:
    async with FaultServer(lambda seen: ScriptedReply(status, LANGUAGE_ERROR_BODY)) as server:
        assert await paid_outcome(Endpoint.ADD_LOCALES, server) == means


@pytest.mark.parametrize("endpoint", PAID_ENDPOINTS)
@pytest.mark.parametrize("status", [400, 403, 422])
async def test_moderation_is_believed_in_any_form_of_json(status: int, endpoint: Endpoint) -> None:
    said = b'{"message": "The content was flagged by our review"}'
    async with FaultServer(lambda seen: ScriptedReply(status, said)) as server, open_client(server.url) as client:
        with pytest.raises(RequestRejectedError) as caught:
            await CALL_BY_ENDPOINT[endpoint](client)
    assert caught.value.code == "moderation"


@pytest.mark.parametrize("endpoint", PAID_ENDPOINTS)
async def test_a_refused_key_stops_all_further_calls_although_its_own_request_is_unknown(endpoint: Endpoint) -> None:
    async with FaultServer(lambda seen: ScriptedReply(401, WEB_PAGE)) as server, open_client(server.url) as client:
        for expected in (UnknownOutcomeError, InvalidApiKeyError):
            with pytest.raises(ProblemError) as caught:
                await CALL_BY_ENDPOINT[endpoint](client)
            assert type(caught.value) is expected
    assert server.connection_count == 1


def test_the_document_holds_the_same_table() -> None:
    assert format_tables() in ANSWERS_DOCUMENT.read_text()


def format_tables() -> str:
    """The tables as markdown."""
    lines = [_format_row("status", *COLUMNS), _format_row(*["---"] * (len(COLUMNS) + 1))]
    lines += [_format_row(row, *cells) for row, cells in OUTCOME_TABLE.items()]
    lines += ["", _format_row("before a status arrives", "means"), _format_row("---", "---")]
    lines += [_format_row(where, means) for where, means in BROKEN_CONNECTION_TABLE.items()]
    return "\n".join(lines)


def _format_row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
