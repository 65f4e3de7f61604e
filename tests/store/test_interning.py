"""What dubs have in common is in memory once, and nothing that they say changes by it."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from synthdub_tui.jobs.model import NEVER, Dub, DubState, Job, Output
from synthdub_tui.store.interning import share_equal_values
from tests.jobs.factories import DE, FR, done_job, jobs_in_every_state

NAMES = st.sampled_from(["/v/a", "/v/b.dubbed-x", "/w/a", "a", ""])
ENDINGS = st.sampled_from([".dubbed-fr-FR.mp4", ".dubbed-fr-FR.srt", ".mp4", ""])
PATHS = st.builds(str.__add__, NAMES, ENDINGS)


def encode_and_decode(job: Job) -> Job:
    """A copy that has nothing in common with another."""
    return msgspec.json.decode(msgspec.json.encode(job), type=Job)


def finished_job(*languages: str) -> Job:
    """A job as its runner tells of it: equal values are objects of their own."""
    job = encode_and_decode(done_job(*languages))
    for language, dub in job.dubs.items():
        output = Output.of(f"/v/lesson.dubbed-{language}.mp4", 5, 7, (f"/v/lesson.dubbed-{language}.srt",))
        msgspec.structs.force_setattr(dub, "output", output)
    return encode_and_decode(job)


def test_the_dubs_of_a_job_share_project_times_and_stem() -> None:
    job = finished_job(FR, DE)
    share_equal_values([job])
    one, other = job.dubs.values()
    assert one.project is other.project
    assert one.since is other.since
    assert one.submitted is other.submitted
    assert one.output is not None
    assert other.output is not None
    assert one.output.stem is other.output.stem == "/v/lesson"


def test_the_dubs_of_a_language_share_how_their_paths_end() -> None:
    jobs = [finished_job(FR), finished_job(FR)]
    share_equal_values(jobs)
    one, other = [job.dubs[FR].output for job in jobs]
    assert one is not None
    assert other is not None
    assert one.endings is other.endings == (".dubbed-fr-FR.mp4", ".dubbed-fr-FR.srt")


def test_outputs_that_are_made_share_as_those_that_are_read() -> None:
    one, other = (Output.of(f"/v/lesson {number}"[:9] + ".dubbed-de-DE.mp4", number, 7) for number in (1, 2))
    assert one.stem is other.stem
    assert one.endings is other.endings


def test_a_time_that_never_was_is_left_out_as_before() -> None:
    """What has its default is left out where it is the default's very object, and 0.0 may be a time that was."""
    job = encode_and_decode(msgspec.structs.replace(done_job(FR), dubs={FR: Dub(DubState.WAITING, 0.0, project="p")}))
    share_equal_values([job])
    assert job.dubs[FR].submitted is NEVER


def test_nothing_that_is_said_changes() -> None:
    for job in jobs_in_every_state().values():
        shared = encode_and_decode(job)
        share_equal_values([shared])
        assert shared == job
        assert msgspec.json.encode(shared) == msgspec.json.encode(job)


@given(PATHS, st.lists(PATHS, max_size=3), st.integers(0, 2**62), st.integers(-(2**62), 2**62), st.lists(st.integers(0, 2**62)))
def test_an_output_says_what_it_was_made_from(path: str, captions: list[str], size: int, at: int, times: list[int]) -> None:
    output = Output.of(path, size, at, captions, seconds=2.5, captions_ns=times)
    assert (output.path, output.captions) == (path, tuple(captions))
    assert (output.size, output.mtime_ns, output.seconds) == (size, at, 2.5)
    assert output.captions_ns == tuple(times)
    assert output.with_caption_times((1, 2)) == Output.of(path, size, at, captions, seconds=2.5, captions_ns=(1, 2))
