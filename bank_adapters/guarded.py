"""A bank behind its breaker, with its calls counted. It wraps any adapter, which knows nothing of it."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from enum import StrEnum
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from bank_adapters.breaker import Breaker, Phase
from bank_adapters.port import (
    BankAdapter,
    BankPayment,
    Capabilities,
    LinkedAccount,
    LinkToken,
    NotSeen,
    PaymentInstruction,
    StatementLine,
)
from domain.errors import BankUnavailable, BankUnknown, SagapayError
from infra.telemetry import REGISTRY

CALLS: Final = Counter("sagapay_bank_calls_total", "Calls to banks.", ["bank", "call", "outcome"], registry=REGISTRY)
SECONDS: Final = Histogram(
    "sagapay_bank_call_seconds",
    "Time of a call that was sent to a bank.",
    ["bank", "call"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
BREAKER: Final = Gauge(
    "sagapay_bank_breaker",
    "Whether calls to the bank go through: 0 all, 1 a few, 2 none.",
    ["bank"],
    registry=REGISTRY,
)
_LEVELS: Final = {Phase.CLOSED: 0, Phase.HALF_OPEN: 1, Phase.OPEN: 2}


class Outcome(StrEnum):
    """What became of a call. A refusal is an answer."""

    ANSWERED = "answered"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"
    HELD_BACK = "held_back"


_OUTCOMES: Final[Mapping[type[SagapayError], Outcome]] = {
    BankUnavailable: Outcome.UNAVAILABLE,
    BankUnknown: Outcome.UNKNOWN,
}


class GuardedBank:
    """The port over another adapter: each call passes the breaker, and tells it how it ended.

    A call that the breaker holds back raises BankUnavailable before anything is sent, so its payment is not in doubt.
    """

    def __init__(self, bank: BankAdapter, breaker: Breaker) -> None:
        self._bank = bank
        self.breaker = breaker
        BREAKER.labels(bank.name).set_function(lambda: _LEVELS[breaker.phase])

    @property
    def name(self) -> str:
        """See the port."""
        return self._bank.name

    @property
    def capabilities(self) -> Capabilities:
        """See the port."""
        return self._bank.capabilities

    async def create_link_token(self, user_reference: str) -> LinkToken:
        """See the port."""
        async with self._guarded("create_link_token", "linking"):
            return await self._bank.create_link_token(user_reference)

    async def exchange_public_token(self, public_token: str) -> LinkedAccount:
        """See the port."""
        async with self._guarded("exchange_public_token", "linking"):
            return await self._bank.exchange_public_token(public_token)

    async def pull(self, instruction: PaymentInstruction) -> BankPayment:
        """See the port."""
        async with self._guarded("pull", instruction.reference):
            return await self._bank.pull(instruction)

    async def push(self, instruction: PaymentInstruction) -> BankPayment:
        """See the port."""
        async with self._guarded("push", instruction.reference):
            return await self._bank.push(instruction)

    async def look_up(self, reference: str) -> BankPayment | NotSeen:
        """See the port."""
        async with self._guarded("look_up", reference):
            return await self._bank.look_up(reference)

    async def cancel(self, reference: str) -> BankPayment | NotSeen:
        """See the port."""
        async with self._guarded("cancel", reference):
            return await self._bank.cancel(reference)

    async def statement(
        self, currency: str | None, *, since: datetime, until: datetime | None = None
    ) -> AsyncIterator[StatementLine]:
        """See the port. A statement that is not read to its end says nothing of the bank."""
        async with self._guarded("statement", currency or "every currency"):
            async for line in self._bank.statement(currency, since=since, until=until):
                yield line

    async def aclose(self) -> None:
        """See the port."""
        await self._bank.aclose()

    @asynccontextmanager
    async def _guarded(self, call: str, subject: str) -> AsyncIterator[None]:
        try:
            admission = await self.breaker.enter()
        except BankUnavailable:
            self._count(call, Outcome.HELD_BACK)
            raise
        began = time.monotonic()
        # Stays None where we gave up: nothing is known of the bank then.
        outcome: Outcome | None = None
        try:
            yield
            outcome = Outcome.ANSWERED
        except SagapayError as error:
            outcome = _OUTCOMES.get(type(error), Outcome.ANSWERED)
            raise
        finally:
            if outcome is not None:
                self._count(call, outcome)
                SECONDS.labels(self.name, call).observe(time.monotonic() - began)
                await self.breaker.leave(admission, subject, failed=outcome is not Outcome.ANSWERED)

    def _count(self, call: str, outcome: Outcome) -> None:
        CALLS.labels(self.name, call, outcome).inc()
