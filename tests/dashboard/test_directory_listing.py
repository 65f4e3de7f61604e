"""What a typed path means."""

import pytest

from synthdub_tui.dashboard.directory_listing import resolve_path


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("sub", "/base/sub"),
        ("../x", "/x"),
        ("/abs", "/abs"),
        ("/base//other/videos", "/other/videos"),
        ("/base/~/videos", "/home/me/videos"),
        ("~/a b", "/home/me/a b"),
        ("/base/a~b", "/base/a~b"),
        ("//", "/"),
    ],
)
def test_what_is_typed_behind_the_path_in_the_prompt_takes_its_place(
    typed: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert resolve_path(typed, "/base") == path
