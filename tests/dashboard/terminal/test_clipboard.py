"""Clipboard and opener: what the outputs screen acts with."""

import base64
import os
import subprocess

import pytest

from synthdub_tui.dashboard.terminal import clipboard

PATH_WITH_SPECIAL_CHARACTERS = "/v/a b/$(id) `x` 'q' \"d\" \\ * [1] ~ é日本.mp4"
PATH_WITH_INVALID_BYTES = os.fsdecode(b"/v/new\nline \x1b[31m \xff '.mp4")
SSH_ENVIRONMENT = {"USER": "ana", "SSH_CONNECTION": "10.0.0.9 5555 192.0.2.7 22"}


def split_by_bash(command: str) -> list[str]:
    """The words that bash makes of a command, without running it."""
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True)
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


@pytest.mark.parametrize("text", [PATH_WITH_SPECIAL_CHARACTERS, PATH_WITH_INVALID_BYTES, "plain", "", "-x", "a\u202eb"])
def test_quoted_is_one_word_for_the_shell(text: str) -> None:
    quoted = clipboard.quote_for_shell(text)
    assert quoted.isprintable()
    assert split_by_bash(quoted) == [text]


def test_paths_are_copied_as_they_are_unless_that_is_dangerous() -> None:
    assert clipboard.path_text(PATH_WITH_SPECIAL_CHARACTERS) == PATH_WITH_SPECIAL_CHARACTERS
    assert split_by_bash(clipboard.path_text(PATH_WITH_INVALID_BYTES)) == [PATH_WITH_INVALID_BYTES]


def test_scp_survives_both_shells() -> None:
    command = clipboard.scp_command([PATH_WITH_SPECIAL_CHARACTERS, "/v/x.mp4"], clipboard.ssh_target("", SSH_ENVIRONMENT))
    program, first, second, here = split_by_bash(command)
    assert (program, second, here) == ("scp", "ana@192.0.2.7:/v/x.mp4", ".")
    host, _, remote = first.partition(":")
    assert host == "ana@192.0.2.7"
    assert split_by_bash(remote) == [PATH_WITH_SPECIAL_CHARACTERS]


@pytest.mark.parametrize(
    ("host", "environ", "target"),
    [
        ("", SSH_ENVIRONMENT, ("ana@192.0.2.7", "")),
        ("", SSH_ENVIRONMENT | {"SSH_CONNECTION": "::1 1 2001:db8::7 2222"}, ("ana@[2001:db8::7]", "2222")),
        ("box", SSH_ENVIRONMENT | {"SSH_CONNECTION": "a 1 b 2222"}, ("ana@box", "2222")),
        ("bob@box", SSH_ENVIRONMENT, ("bob@box", "")),
    ],
)
def test_where_scp_connects(host: str, environ: dict[str, str], target: tuple[str, str]) -> None:
    assert clipboard.ssh_target(host, environ) == target


def test_without_ssh_the_host_has_its_own_name() -> None:
    host, port = clipboard.ssh_target("", {"LOGNAME": "eve"})
    assert host.startswith("eve@")
    assert port == ""


def test_multiplexers_pass_the_sequence_on() -> None:
    text = "x" * 3000
    plain = f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\a"
    assert clipboard.wrap_for_multiplexer(text, {}) == ""
    tmux = clipboard.wrap_for_multiplexer(text, {"TMUX": "/tmp/s,1,0"})
    assert tmux == "\x1bPtmux;\x1b" + plain + "\x1b\\"
    screen = clipboard.wrap_for_multiplexer(text, {"STY": "1.pts"})
    assert screen.replace("\x1bP", "").replace("\x1b\\", "") == plain
