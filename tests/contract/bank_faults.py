"""The fault matrix of the conformance kit: each call of the port under each trouble, and what is true afterwards.

A new bank's sandbox brings about the troubles as it can: its test environment's switches, or a proxy before it.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol

import pytest

from bank_adapters.port import BankAdapter, BankPayment, NotSeen, PaymentInstruction, PaymentState
from domain.errors import BankUnavailable, BankUnknown
from domain.rails import Rail
from tests.contract.bank_suite import SECOND, Sandbox, instruct, linked, statement_of


class Trouble(StrEnum):
    """What befalls every call: nothing is done, or it is done; and what the caller hears of it."""

    DOWN = "down: not done, and the bank says so"
    LOST_REQUEST = "not done, and no answer"
    LOST_ANSWER = "done, and no answer"
    BROKEN_ANSWER = "done, and the answer is an error"


DONE: Final = frozenset({Trouble.LOST_ANSWER, Trouble.BROKEN_ANSWER})
MEANS: Final[Mapping[Trouble, type[Exception]]] = MappingProxyType(
    {
        Trouble.DOWN: BankUnavailable,
        Trouble.LOST_REQUEST: BankUnknown,
        Trouble.LOST_ANSWER: BankUnknown,
        Trouble.BROKEN_ANSWER: BankUnknown,
    }
)


class TroubledSandbox(Sandbox, Protocol):
    """A sandbox that can get into trouble. `impatient` is the adapter with a time-out of a second or two."""

    impatient: BankAdapter

    async def misbehave(self, trouble: Trouble) -> None:
        """From now on, every call."""
        ...

    async def behave(self) -> None:
        """No more trouble."""
        ...


@dataclass(frozen=True)
class _Prepared:
    """What the calls of one row of the matrix are about."""

    pull: PaymentInstruction
    push: PaymentInstruction
    waiting: str
    public_token: str
    account_token: str


async def _prepared(sandbox: TroubledSandbox) -> _Prepared:
    account = await linked(sandbox, 10_000)
    await sandbox.bank.pull(instruct(account, 2_000))
    waiting = replace(instruct(account, 500), rail=Rail.ACH)
    assert (await sandbox.bank.pull(waiting)).state is PaymentState.ACCEPTED
    link = await sandbox.bank.create_link_token("usr_matrix")
    public = await sandbox.approve(link.link_token, holder_name="Ada", opening_balance=0)
    return _Prepared(
        pull=instruct(account, 300),
        push=instruct(account, 700),
        waiting=waiting.reference,
        public_token=public,
        account_token=account.account_token,
    )


def _calls(bank: BankAdapter, about: _Prepared) -> dict[str, Awaitable[object]]:
    now = datetime.now(UTC)
    return {
        "create_link_token": bank.create_link_token("usr_matrix"),
        "exchange_public_token": bank.exchange_public_token(about.public_token),
        "pull": bank.pull(about.pull),
        "push": bank.push(about.push),
        "look_up": bank.look_up(about.waiting),
        "cancel": bank.cancel(about.waiting),
        "statement": anext(bank.statement("USD", since=now - SECOND, until=now)),
    }


class BankFaults:
    """The matrix. Fill in the fixture `sandbox` with a TroubledSandbox."""

    @pytest.mark.parametrize("trouble", Trouble)
    async def test_a_call_in_trouble_says_what_is_certain_and_is_settled_by_asking(
        self, sandbox: TroubledSandbox, trouble: Trouble
    ) -> None:
        about = await _prepared(sandbox)
        await sandbox.misbehave(trouble)
        silent = trouble in {Trouble.LOST_REQUEST, Trouble.LOST_ANSWER}
        calls = _calls(sandbox.impatient if silent else sandbox.bank, about)
        outcomes = await asyncio.gather(*calls.values(), return_exceptions=True)
        await sandbox.behave()
        heard = {name: type(outcome) for name, outcome in zip(calls, outcomes, strict=True)}
        assert heard == dict.fromkeys(calls, MEANS[trouble])
        await self._asked_afterwards(sandbox, about, done=trouble in DONE)

    async def _asked_afterwards(self, sandbox: TroubledSandbox, about: _Prepared, *, done: bool) -> None:
        """The bank knows exactly what was done, and repeating it moves money once."""
        for asked in (about.pull, about.push):
            known = await sandbox.bank.look_up(asked.reference)
            assert isinstance(known, BankPayment if done else NotSeen)
        waiting = await sandbox.bank.look_up(about.waiting)
        assert isinstance(waiting, BankPayment)
        assert waiting.state is (PaymentState.CANCELLED if done else PaymentState.ACCEPTED)
        for _ in range(2):
            assert (await sandbox.bank.pull(about.pull)).state is PaymentState.SETTLED
            assert (await sandbox.bank.push(about.push)).state is PaymentState.SETTLED
        assert await sandbox.balance(about.account_token) == 10_000 - 2_000 - 300 + 700
        for asked in (about.pull, about.push):
            assert len(await statement_of(sandbox, asked.reference)) == 1
        assert (await sandbox.bank.exchange_public_token(about.public_token)).user_reference == "usr_matrix"
