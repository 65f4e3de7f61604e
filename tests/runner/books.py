"""Books about consent, kept beside the program: what the service told it of moderation, what prompts showed, and what the user
agreed to."""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from synthdub_tui.ipc.protocol import DubRef, ShownDub
from synthdub_tui.jobs.model import DubState, Hold, Job
from synthdub_tui.jobs.retry_policy import RetryPolicy, policy_for
from tests.dub_refs import shown_dubs
from tests.runner.fake_service import Fact, SentPaidRequest
from tests.virtual_time import VirtualClock

HEARD: Final = 2.0
"""Seconds after an answer within which a request may leave that was begun before it."""

KEPT: Final = 4.0
"""Seconds after an answer by which what it says is on disk, where that takes anything."""


class Refusals:
    """Which contents moderation refused, in which language or as a whole, and to which of them the user agreed since.

    Nothing erases a refusal. What was agreed to may be sent once, and not after the next refusal of it.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._told: dict[Fact, float] = {}
        self._agreed: set[tuple[bytes, str]] = set()
        self._used: dict[int, set[tuple[bytes, str]]] = {}  # by request: what it may have to give back

    def told(self, facts: Iterable[Fact]) -> None:
        """An answer says so; of one try as often as it is asked for."""
        for fact in facts:
            if fact not in self._told:
                self._told[fact] = self._clock.now
                self._agreed = {each for each in self._agreed if each[0] != fact[0] or fact[1] not in ("", each[1])}

    def agree(self, title: str, language: str) -> None:
        """The user named this very dub, seeing that it was refused."""
        contents = {content for content, _, _ in self._told if content.split()[0].decode() == title}
        self._agreed |= {(content, language) for content in contents}

    def send(self, paid: SentPaidRequest) -> list[str]:
        """A request leaves: its languages that nobody agreed to."""
        keys = {(paid.content, language) for language in paid.languages}
        self._used[id(paid)] = keys & self._agreed
        refused = [language for language in paid.languages if self._is_refused(paid.content, language)]
        wrong = [language for language in refused if (paid.content, language) not in self._agreed]
        self._agreed -= keys
        return wrong

    def give_back(self, paid: SentPaidRequest) -> None:
        """It was certainly not taken, and may be sent again, but for what moderation has just refused."""
        used = self._used.pop(id(paid), set())
        if paid.refused_as == "moderation":
            used = set()
        elif paid.refused_as == "named moderation":
            used.discard((paid.content, paid.languages[0]))
        self._agreed |= used

    def process_died(self, unsaved_since: float) -> None:
        """What was told and is not on disk yet is lost, and found out once more."""
        since = min(unsaved_since, self._clock.now - KEPT)
        self._told = {fact: at for fact, at in self._told.items() if at < since}

    def _is_refused(self, content: bytes, language: str) -> bool:
        now = self._clock.now
        return any(
            known == content and about in ("", language) and at + HEARD < now for (known, about, _), at in self._told.items()
        )


class DubView(NamedTuple):
    """What a prompt shows of a dub: its state, what went wrong, what holds it, what a retry means, and the paid requests that
    were begun for it by then."""

    state: DubState
    failure: str
    hold: Hold | None
    policy: RetryPolicy
    begun: frozenset[float]


@dataclass(frozen=True)
class Prompt:
    """Dubs as a user was shown them, and when by the wall clock."""

    views: Mapping[ShownDub, DubView]
    at: float


@dataclass(frozen=True)
class PaymentEvent:
    """A consent, or a paid request that left."""

    at: float
    paid: SentPaidRequest | None = None
    during_request: bool = False  # a consent that was given while an earlier request was begun


class Consents:
    """What the user agreed to pay for. Each paid request needs a consent of its own for each of its languages."""

    def __init__(self) -> None:
        self._events: defaultdict[tuple[str, str], list[PaymentEvent]] = defaultdict(list)
        self._begun: defaultdict[tuple[str, str], set[float]] = defaultdict(set)

    def show(self, jobs: Mapping[str, Job], cells: Iterable[DubRef], at: float) -> Prompt:
        """A prompt shows these dubs."""
        return Prompt({cell: self.view(jobs[cell.job], cell.language) for cell in shown_dubs(jobs, cells)}, at)

    def view(self, job: Job, language: str) -> DubView:
        dub, begun = job.dubs[language], self._begun[job.options.title, language]
        if is_requested(job, language):
            assert job.submission is not None
            begun.add(job.submission.at)
        code = dub.failure.code if dub.failure is not None else ""
        return DubView(dub.state, code, dub.hold, policy_for(job, language), frozenset(begun))

    def give(self, title: str, language: str, at: float, *, during_request: bool) -> None:
        """The user agreed to pay for this dub as it is."""
        insort(self._events[title, language], PaymentEvent(at, None, during_request), key=lambda event: event.at)

    def send(self, paid: SentPaidRequest, at: float, begun: float) -> None:
        """A paid request leaves."""
        for language in paid.languages:
            self._begun[paid.title, language].add(begun)
            self._events[paid.title, language].append(PaymentEvent(at, paid))

    def give_back(self, paid: SentPaidRequest) -> None:
        """It was certainly not taken, so it used no consent."""
        for language in paid.languages:
            key = paid.title, language
            self._events[key] = [event for event in self._events[key] if event.paid is not paid]

    def find_missing(self) -> list[str]:
        """What was paid for, or may have been, without a consent since the request before. Consents do not add up."""
        missing = []
        for (title, language), events in self._events.items():
            unused = 0
            for event in events:
                if event.paid is None:
                    unused = unused + 1 if event.during_request else 1
                elif language in event.paid.possibly_paid_languages:
                    if not unused:
                        missing.append(f"{title} {language} at {event.at}")
                    unused = max(unused - 1, 0)
        return missing


def is_requested(job: Job, language: str) -> bool:
    """Whether a paid request for the dub is begun, and not answered."""
    return job.submission is not None and language in job.submission.languages
