"""Which names are left out of a search."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthdub_tui.jobs.globs import Glob
from synthdub_tui.jobs.output_paths import is_output, output_path
from synthdub_tui.languages import OUTPUT_CODES
from synthdub_tui.sources.skip_rules import SkipReason, SkipRules, is_output_copy, is_reserved

RESERVED_NAMES = """
    #recycle|@Recycle|@Recently-Snapshot|@eaDir|#snapshot|~snapshot|.snapshot|.snapshots|.zfs|@GMT-2026.11.30-10.10.10
    |.Trash-1000    |.Trashes|$RECYCLE.BIN|System Volume Information
    |lost+found|.stversions|.stfolder|.stfolder.removed-1|.sync|.dropbox.cache
    |.AppleDouble|.Spotlight-V100|.fseventsd|.TemporaryItems|FOUND.000|.@__thumb|.recycle|files_trashbin|files_versions
    |Backups.backupdb|Plex Versions|Adobe Premiere Pro Video Previews|CacheClip|__MACOSX|.git|DfsrPrivate|_gsdata_
    |._clip.mp4|~$clip.mp4
"""
ORDINARY_NAMES = """
    Recycled|recycle|Backup|backups|cache|versions|snapshot|snapshots|Trash|sync|FOUND.mp4|found.0001|@home|#1 intro|$5 course
    |~old|_new|Proxies|daily.0
"""


@pytest.mark.parametrize("name", [name.strip() for name in RESERVED_NAMES.split("|")])
def test_names_that_only_programs_give_are_reserved_in_any_case(name: str) -> None:
    assert is_reserved(name)
    assert is_reserved(name.upper())
    assert is_reserved(name.lower())
    assert SkipRules(include_hidden=True).skip_reason(["a", name], folder=True) is SkipReason.RESERVED


@pytest.mark.parametrize("name", [name.strip() for name in ORDINARY_NAMES.split("|")])
def test_words_that_a_person_may_use_are_taken(name: str) -> None:
    assert SkipRules().skip_reason(["a", name], folder=True) is None


def test_hidden_names_are_left_out_unless_they_are_asked_for() -> None:
    assert SkipRules().skip_reason([".clip.mp4"], folder=False) is SkipReason.HIDDEN
    assert SkipRules(include_hidden=True).skip_reason([".clip.mp4"], folder=False) is None


def test_excluded_names_are_left_out() -> None:
    rules = SkipRules(exclude=(Glob("raw/"), Glob("*.mov")))
    assert rules.skip_reason(["a", "raw"], folder=True) is SkipReason.EXCLUDED
    assert rules.skip_reason(["a", "b.mov"], folder=False) is SkipReason.EXCLUDED
    assert rules.skip_reason(["a", "raw"], folder=False) is None


COPY_NAMES = """
    clip.dubbed-fr-FR (1).mp4|clip.dubbed-fr-FR - Copy.mp4|clip.dubbed-fr-FR copy.mp4
    |clip.dubbed-fr-FR.sync-conflict-20261130-101010-ABCDEFG.mp4
    |clip.dubbed-fr-FR (conflicted copy 2026-11-30).mp4|clip.dubbed-fr-FR (Anna's conflicted copy 2026-11-30).mp4
    |clip.dubbed-fr-FR.mov    |clip.dubbed-fr-FR_2.mp4|clip.dubbed-fr-FR~1.mp4|clip.dubbed-fr-FR-1.mp4
    |clip.dubbed-ja (2).webm|clip.dubbed-xx-YY (1).mp4
    |clip.DUBBED-fr-fr 2.MP4|Kopie von clip.dubbed-de.mp4.mp4|clip.dubbed-fr-FR.720p.mp4|.clip.dubbed-fr-FR.mp4.AbC123.mp4
"""


@pytest.mark.parametrize("name", [name.strip() for name in COPY_NAMES.split("|")])
def test_a_copy_of_an_output_is_known_by_its_name(name: str) -> None:
    assert is_output_copy(name)
    assert not is_output(name)


@pytest.mark.parametrize(
    "name",
    [
        "my.dubbed-final-cut.mp4",
        "clip.dubbed-french (1).mp4",
        "clip.dubbed (1).mp4",
        "clip dubbed-fr-FR.mp4",
        "clip.dubbed-frühling.mp4",
    ],
)
def test_what_only_looks_like_a_copy_of_an_output(name: str) -> None:
    assert not is_output_copy(name)


@given(
    st.sampled_from(OUTPUT_CODES),
    st.sampled_from(["", "Copy of ", "~"]),
    st.from_regex(r"[ ._~(\-][^/\n]{0,20}", fullmatch=True),
)
def test_whatever_a_program_adds_to_an_output_it_stays_known(language: str, before: str, after: str) -> None:
    stem, ending = output_path("clip.mp4", language).rsplit(".", 1)
    name = f"{before}{stem}{after}.{ending}"
    assert is_output(name) or is_output_copy(name)
