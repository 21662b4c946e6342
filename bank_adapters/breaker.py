"""A circuit breaker: a bank that does not answer is left alone, and asked now and then whether it is back.

It opens when at least half of a process's last calls to the bank failed, for several payments at once: one payment
that the bank cannot stand stops nobody else. While it is open nothing is sent. After a pause a few calls are let
through (half-open): if they go well it closes, if one fails it is open again.

Each process counts its own calls. That the breaker is open, all are told (`breaker_states`).
"""

import math
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, Self

from domain.errors import BankUnavailable
from infra.settings import Settings

LOOK_AGAIN_SECONDS: Final = 0.5
"""How long a process may go on not knowing that another one has opened the breaker."""


class Phase(StrEnum):
    """Whether calls go through: all, a few, or none."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class BreakerState:
    """Where a breaker is; an open one lets a few calls through in `seconds`."""

    phase: Phase = Phase.CLOSED
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """When a breaker opens and closes.

    It opens when half of the last `calls` failed, of `failures` different payments; stays open for `pause_seconds`;
    then lets `probes` calls through, each pause anew, and closes when as many have gone well.
    """

    calls: int
    failures: int
    pause_seconds: float
    probes: int = 3

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """As the settings say."""
        return cls(
            calls=settings.bank_breaker_calls,
            failures=settings.bank_breaker_failures,
            pause_seconds=settings.bank_breaker_pause_seconds,
        )


class BreakerStates(Protocol):
    """Where the states of all banks' breakers are kept. Never raises."""

    async def read(self, bank: str) -> BreakerState:
        """How it is now."""
        ...

    async def open(self, bank: str, seconds: float) -> None:
        """Let nothing through for `seconds`, and then a few."""
        ...

    async def take_place(self, bank: str, places: int, seconds: float) -> bool:
        """One of the half-open breaker's `places`, which are there anew every `seconds`; False if there is none."""
        ...

    async def note_success(self, bank: str, wanted: int) -> bool:
        """A call that was let through went well; closes at `wanted` of them. Whether that was the last."""
        ...


@dataclass(frozen=True, slots=True)
class Admission:
    """A call was let through in this phase, after so many openings that this process has heard of."""

    phase: Phase
    openings: int


class Breaker:
    """The breaker of one bank in one process. Belongs to one event loop."""

    def __init__(
        self, bank: str, states: BreakerStates, rules: BreakerRules, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._bank = bank
        self._states = states
        self.rules = rules
        """When it opens and closes."""
        self._now = now
        self._last: deque[tuple[str, bool]] = deque(maxlen=rules.calls)
        self.openings = 0
        """How often this process has heard of an opening."""
        self._known = BreakerState()
        self._known_at = -math.inf

    @property
    def phase(self) -> Phase:
        """The phase as far as this process knows, without asking anybody."""
        over = self._known.phase is Phase.OPEN and self._now() >= self._known_at + self._known.seconds
        return Phase.HALF_OPEN if over else self._known.phase

    async def enter(self) -> Admission:
        """Before a call. Raises BankUnavailable, with the time to come back, where nothing may be sent now."""
        state = await self.state()
        if state.phase is Phase.OPEN:
            # Not all at the same moment.
            raise self._refusal(state.seconds * random.uniform(1, 1.5))  # noqa: S311
        pause = self.rules.pause_seconds
        if state.phase is Phase.HALF_OPEN and not await self._states.take_place(self._bank, self.rules.probes, pause):
            raise self._refusal(pause * random.uniform(0.3, 1))  # noqa: S311
        return Admission(state.phase, self.openings)

    async def leave(self, admission: Admission, subject: str, *, failed: bool) -> None:
        """After a call about `subject`, usually a payment. What began before the last opening tells nothing of now."""
        if admission.openings != self.openings:
            return
        if admission.phase is Phase.HALF_OPEN:
            if failed:
                await self._open()
            elif await self._states.note_success(self._bank, self.rules.probes):
                self._learn(BreakerState())
            return
        self._last.append((subject, failed))
        if failed and self._too_many():
            await self._open()

    def _too_many(self) -> bool:
        failures = [subject for subject, failed in self._last if failed]
        return len(set(failures)) >= self.rules.failures and 2 * len(failures) >= len(self._last)

    async def _open(self) -> None:
        self._learn(BreakerState(Phase.OPEN, self.rules.pause_seconds))
        self._forget()
        await self._states.open(self._bank, self.rules.pause_seconds)

    async def state(self) -> BreakerState:
        """The state that all share; a closed one is known for half a second."""
        if self._known.phase is Phase.CLOSED and self._now() < self._known_at + LOOK_AGAIN_SECONDS:
            return self._known
        told = await self._states.read(self._bank)
        if told.phase is not Phase.CLOSED and self._known.phase is Phase.CLOSED:
            self._forget()
        self._learn(told)
        return told

    def _learn(self, state: BreakerState) -> None:
        self._known, self._known_at = state, self._now()

    def _forget(self) -> None:
        """Count anew: the breaker was opened, here or elsewhere."""
        self.openings += 1
        self._last.clear()

    def _refusal(self, seconds: float) -> BankUnavailable:
        return BankUnavailable(f"{self._bank} has not answered of late and is left alone for a while.", seconds)
