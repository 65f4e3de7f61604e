"""Refusals for content are known by what they mean: they are never sent again in bulk or by themselves."""

from __future__ import annotations

import pytest

from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.moderation import is_moderation_refusal
from synthdub_tui.jobs.transitions import creation, retry, submission
from tests.jobs.factories import DE, FR, NOW, job_with_failed_language, submitting_job


@pytest.mark.parametrize("code", ["moderation", "MODERATION", "content_moderation", "moderation_rejected", "ModerationError"])
def test_a_code_in_other_words_is_moderation(code: str) -> None:
    assert is_moderation_refusal(code)


@pytest.mark.parametrize("code", ["rejected", "content_rejected", "REJECTED", "ContentPolicyViolation", "flagged", "nsfw"])
def test_what_rejects_without_another_reason_is_moderation(code: str) -> None:
    assert is_moderation_refusal(code)


@pytest.mark.parametrize(
    "words",
    [
        "Your video was rejected.",
        "The content has been flagged by our review",
        "This script contains inappropriate content",
        "It goes against our Acceptable Use Policy",
        "violates the terms of service",
        "Content of this kind is not allowed",
        "content moderation: no credits were charged",
    ],
)
def test_words_beside_any_code_tell_it(words: str) -> None:
    assert is_moderation_refusal("", words)
    assert is_moderation_refusal("processing_error", words)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("", ""),
        ("processing_error", ""),
        ("video_duration_limit_reached", "The video was rejected"),
        ("invalid_target_language", "fr-XX was rejected"),
        ("BrokenAssetUrlError", "The asset's URL was rejected: media type"),
        ("request_refused", "title too odd"),
        ("language_refused", "unsupported"),
        ("", "Request rejected: insufficient credits"),
        ("", "Content-Type rejected"),
        ("", "Bad request: moderate the size of `targetLanguages`"),
        ("canceled", "Canceled by the user"),
    ],
)
def test_another_reason_is_none(code: str, words: str) -> None:
    assert not is_moderation_refusal(code, words)


@pytest.mark.parametrize(
    ("code", "words"),
    [("request_refused", "The script was flagged"), ("content_moderation", ""), ("BrokenAssetUrlError", "policy")],
)
def test_a_submission_refused_for_its_content_fails_as_moderation(code: str, words: str) -> None:
    job = submission.record_rejected(submitting_job(FR), code, words, {}, NOW)
    assert failure_code(job, FR) == "moderation"


def test_a_language_refused_for_its_content_fails_as_moderation() -> None:
    job = retry.retry_dub(job_with_failed_language(FR), FR, NOW)
    job = submission.record_intent(creation.add_targets(job, [DE], NOW), [FR, DE], "p1", NOW)
    job = submission.record_locales_added(job, {}, {FR: "content was rejected", DE: "unsupported"}, NOW)
    assert (failure_code(job, FR), failure_code(job, DE)) == ("moderation", "language_refused")


def failure_code(job: Job, language: str) -> str:
    failure = job.dubs[language].failure
    assert failure is not None
    return failure.code
