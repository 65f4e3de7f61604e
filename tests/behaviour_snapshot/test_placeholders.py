"""What differs between two runs gets a placeholder, and nothing else does."""

from __future__ import annotations

from tests.behaviour_snapshot.album import describe_log, describe_value
from tests.behaviour_snapshot.placeholders import Placeholders, drop_repeated, group_by_subject

NOW = 1_800_000_000.0
FIRST, SECOND = "9d5c46db-3670-4437-b444-61fd08d64a32", "48ba5354-75d7-4df5-a2ca-d0d645abd37f"


def test_an_id_keeps_the_number_that_it_got_when_it_was_first_seen() -> None:
    placeholders = Placeholders(NOW)
    assert placeholders.replace_in(f"{FIRST} {SECOND} {FIRST}") == "<uuid 1> <uuid 2> <uuid 1>"
    assert placeholders.replace_in(SECOND) == "<uuid 2>"


def test_times_of_the_recording_are_replaced_and_others_stay() -> None:
    text = Placeholders(NOW).replace_in
    assert text("since = 1800000001.25") == "since = <time>"
    assert text("mtime_ns = 1800000001250000000") == "mtime_ns = <time ns>"
    assert text("mtime_ns = 1500000000000000000") == "mtime_ns = 1500000000000000000"
    assert text("size = 1500000000") == "size = 1500000000"
    assert text("intro-1800000001.mp4") == "intro-1800000001.mp4"
    assert text('{"time": "2027-01-15T08:00:01.250+00:00"}') == '{"time": "<date>"}'
    assert text("08:00:01  intro.mp4  uploading") == "<clock>  intro.mp4  uploading"


def test_ports_processes_and_durations_are_replaced() -> None:
    text = Placeholders(NOW).replace_in
    assert text("http://127.0.0.1:40123/v2 http://127.0.0.1:40124") == "http://127.0.0.1:<port 1>/v2 http://127.0.0.1:<port 2>"
    assert text("/state  (runner 4711 at work)") == "/state  (runner <process> at work)"
    assert text("1 of 2 dubs done, 3 files, 1 min 04 s") == "1 of 2 dubs done, 3 files, <duration>"


def test_random_ids_are_replaced_and_digests_stay() -> None:
    text = Placeholders(NOW).replace_in
    hexadecimal = "0123456789abcdef" * 2
    assert text(f'id = "{hexadecimal}"\ndigest = "xxh3:{hexadecimal}"') == f'id = "<batch 1>"\ndigest = "xxh3:{hexadecimal}"'
    assert text('{"is":"unclear","id":"0123456789abcdef"}') == '{"is":"unclear","id":"<receipt 1>"}'


def test_lines_about_one_subject_keep_their_order() -> None:
    assert group_by_subject("b 1\na 2\nb 0\na 1\n", lambda line: line[0]) == "a 2\na 1\nb 1\nb 0\n"


def test_requests_that_differ_by_their_ids_alone_count_once() -> None:
    assert drop_repeated([f"GET /{FIRST}", f"GET /{SECOND}", f"PUT /{FIRST}"]) == "GET /<uuid>\nPUT /<uuid>"


def test_a_log_is_recorded_by_its_kinds_of_lines() -> None:
    line = '{"time": "now", "level": "info", "from": "worker", "event": "upload again", "job": "%s"}\n'
    assert describe_log(line % "one" + line % "two") == "info 'upload again' time level from event job\n"


def test_a_shape_has_kinds_of_values_instead_of_the_values() -> None:
    assert describe_value({"used": [[1, 60], [2, 60]], "on": True}) == {"used": [["<number>"]], "on": "<truth>"}
