"""What every bank adapter must do, as tests. A new bank subclasses `BankContract` and fills in the two fixtures.

`sandbox` prepares accounts in the bank's test environment, `unreachable` is the adapter with nobody behind it.
"""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import uuid4

import pytest

from bank_adapters.port import (
    BankAdapter,
    BankPayment,
    Direction,
    LineKind,
    LinkedAccount,
    NotSeen,
    PaymentInstruction,
    PaymentState,
    StatementLine,
)
from domain.errors import BankRefusedLink, BankUnavailable, BankUnknown
from domain.money import Money

SECOND = timedelta(seconds=1)


class Sandbox(Protocol):
    """A bank's test environment: the adapter, and what a customer would do on the bank's own pages."""

    bank: BankAdapter

    async def approve(self, link_token: str, *, holder_name: str, opening_balance: int) -> str:
        """Open an account with this many minor units of USD, agree to link it: the public token."""
        ...

    async def close_account(self, account_token: str) -> None:
        """The customer leaves the bank."""
        ...

    async def balance(self, account_token: str) -> int:
        """What the customer has."""
        ...

    async def give_back(self, reference: str, code: str) -> None:
        """A settled payment comes back with a code of the network."""
        ...


def dollars(minor_units: int) -> Money:
    """Money in the currency that the suite uses."""
    return Money(minor_units, "USD")


async def linked(sandbox: Sandbox, opening_balance: int = 10_000) -> LinkedAccount:
    """A fresh linked account."""
    link = await sandbox.bank.create_link_token("usr_contract")
    public = await sandbox.approve(link.link_token, holder_name="Ada", opening_balance=opening_balance)
    return await sandbox.bank.exchange_public_token(public)


def instruct(account: LinkedAccount, minor_units: int) -> PaymentInstruction:
    """A new instruction under a fresh reference."""
    return PaymentInstruction(
        reference=f"txn_{uuid4().hex}:step", account_token=account.account_token, amount=dollars(minor_units)
    )


async def statement_of(sandbox: Sandbox, reference: str) -> list[StatementLine]:
    """The statement's lines of one reference."""
    now = datetime.now(UTC)
    lines = sandbox.bank.statement("USD", since=now - 3600 * SECOND, until=now + 3600 * SECOND)
    return [line async for line in lines if line.reference == reference]


class BankContract:
    """The tests. Each uses accounts and references of its own, so they can share one bank."""

    async def test_linking_gives_a_token_and_what_may_be_shown(self, sandbox: Sandbox) -> None:
        link = await sandbox.bank.create_link_token("usr_1234")
        assert link.expires_at > datetime.now(UTC)
        public = await sandbox.approve(link.link_token, holder_name="Grace Hopper", opening_balance=0)
        account = await sandbox.bank.exchange_public_token(public)
        assert (account.holder_name, account.currency, account.user_reference) == ("Grace Hopper", "USD", "usr_1234")
        assert len(account.mask) == 4

    async def test_a_lost_exchange_can_be_asked_for_again(self, sandbox: Sandbox) -> None:
        link = await sandbox.bank.create_link_token("usr_1234")
        public = await sandbox.approve(link.link_token, holder_name="Ada", opening_balance=0)
        first = await sandbox.bank.exchange_public_token(public)
        assert await sandbox.bank.exchange_public_token(public) == first

    async def test_an_unknown_public_token_is_refused(self, sandbox: Sandbox) -> None:
        with pytest.raises(BankRefusedLink):
            await sandbox.bank.exchange_public_token("public_made_up")

    async def test_a_pull_takes_the_money_and_a_push_gives_it_back(self, sandbox: Sandbox) -> None:
        account = await linked(sandbox, 10_000)
        pulled = await sandbox.bank.pull(instruct(account, 4_000))
        assert (pulled.state, pulled.direction, pulled.amount) == (PaymentState.SETTLED, Direction.PULL, dollars(4_000))
        assert pulled.settled_at is not None
        assert await sandbox.balance(account.account_token) == 6_000
        pushed = await sandbox.bank.push(instruct(account, 1_500))
        assert (pushed.state, pushed.direction) == (PaymentState.SETTLED, Direction.PUSH)
        assert await sandbox.balance(account.account_token) == 7_500

    async def test_a_reference_moves_money_once(self, sandbox: Sandbox) -> None:
        account = await linked(sandbox, 10_000)
        asked = instruct(account, 4_000)
        assert await sandbox.bank.pull(asked) == await sandbox.bank.pull(asked)
        assert await sandbox.balance(account.account_token) == 6_000

    async def test_fifty_calls_at_once_with_one_reference_make_one_payment(self, sandbox: Sandbox) -> None:
        account = await linked(sandbox, 10_000)
        asked = instruct(account, 100)
        payments = await asyncio.gather(*(sandbox.bank.pull(asked) for _ in range(50)))
        assert len({payment.bank_payment_id for payment in payments}) == 1
        assert await sandbox.balance(account.account_token) == 9_900
        assert len(await statement_of(sandbox, asked.reference)) == 1

    async def test_a_reference_used_for_another_amount_is_unknown_not_paid(self, sandbox: Sandbox) -> None:
        account = await linked(sandbox, 10_000)
        asked = instruct(account, 4_000)
        await sandbox.bank.pull(asked)
        with pytest.raises(BankUnknown):
            await sandbox.bank.pull(replace(asked, amount=dollars(4_001)))
        with pytest.raises(BankUnknown):
            await sandbox.bank.push(asked)
        assert await sandbox.balance(account.account_token) == 6_000

    async def test_insufficient_funds_are_a_refusal_for_ever(self, sandbox: Sandbox) -> None:
        account = await linked(sandbox, 100)
        asked = instruct(account, 101)
        refused = await sandbox.bank.pull(asked)
        assert refused.state is PaymentState.REFUSED
        assert refused.refusal_code
        assert refused.refusal_detail
        assert refused.retryable
        assert await sandbox.balance(account.account_token) == 100
        await sandbox.bank.pull(instruct(await linked(sandbox, 1_000), 1_000))
        await sandbox.bank.push(instruct(account, 500))
        assert await sandbox.bank.pull(asked) == refused
        assert await sandbox.balance(account.account_token) == 600

    async def test_a_closed_account_refuses_both_ways(self, sandbox: Sandbox) -> None:
        account = await linked(sandbox, 10_000)
        await sandbox.bank.pull(instruct(account, 5_000))
        await sandbox.close_account(account.account_token)
        pulled = await sandbox.bank.pull(instruct(account, 1))
        pushed = await sandbox.bank.push(instruct(account, 1))
        assert pulled.state is pushed.state is PaymentState.REFUSED
        assert not pulled.retryable
        assert await sandbox.balance(account.account_token) == 5_000

    async def test_an_unknown_account_is_a_refusal(self, sandbox: Sandbox) -> None:
        account = replace(await linked(sandbox), account_token="at_made_up")
        refused = await sandbox.bank.pull(instruct(account, 1))
        assert refused.state is PaymentState.REFUSED
        assert not refused.retryable

    async def test_a_look_up_finds_what_was_paid_and_what_was_refused(self, sandbox: Sandbox) -> None:
        account = await linked(sandbox, 100)
        paid, refused = instruct(account, 100), instruct(account, 1)
        first = await sandbox.bank.pull(paid)
        second = await sandbox.bank.pull(refused)
        found = await sandbox.bank.look_up(paid.reference)
        assert isinstance(found, BankPayment)
        assert found == first
        assert await sandbox.bank.look_up(refused.reference) == second

    async def test_a_look_up_of_what_was_never_sent_says_so(self, sandbox: Sandbox) -> None:
        assert await sandbox.bank.look_up("txn_never:step") == NotSeen(reference="txn_never:step")

    async def test_the_statement_has_each_payment_once_with_the_balance_after_it(self, sandbox: Sandbox) -> None:
        account = await linked(sandbox, 10_000)
        pulled, pushed = instruct(account, 4_000), instruct(account, 1_000)
        await sandbox.bank.pull(pulled)
        await sandbox.bank.push(pushed)
        (received,) = await statement_of(sandbox, pulled.reference)
        (sent,) = await statement_of(sandbox, pushed.reference)
        assert (received.minor_units, sent.minor_units) == (4_000, -1_000)
        assert received.line < sent.line
        assert received.booked_at <= sent.booked_at
        assert sent.balance_after == received.balance_after - 1_000

    async def test_the_statement_keeps_to_its_window(self, sandbox: Sandbox) -> None:
        asked = instruct(await linked(sandbox), 1)
        await sandbox.bank.pull(asked)
        (line,) = await statement_of(sandbox, asked.reference)
        before = sandbox.bank.statement("USD", since=line.booked_at - SECOND, until=line.booked_at)
        after = sandbox.bank.statement("USD", since=line.booked_at, until=line.booked_at + SECOND)
        assert asked.reference not in [other.reference async for other in before]
        assert asked.reference in [other.reference async for other in after]

    async def test_the_statement_of_every_currency_has_those_of_each(self, sandbox: Sandbox) -> None:
        asked = instruct(await linked(sandbox), 1)
        await sandbox.bank.pull(asked)
        (line,) = await statement_of(sandbox, asked.reference)
        every = sandbox.bank.statement(None, since=line.booked_at, until=line.booked_at + SECOND)
        assert line in [other async for other in every]

    async def test_nobody_there_is_unavailable_for_every_call(self, unreachable: BankAdapter) -> None:
        asked = PaymentInstruction(reference="txn_1:step", account_token="at_1", amount=dollars(1))
        now = datetime.now(UTC)
        calls = [
            unreachable.create_link_token("usr_1"),
            unreachable.exchange_public_token("public_1"),
            unreachable.pull(asked),
            unreachable.push(asked),
            unreachable.look_up("txn_1:step"),
            unreachable.cancel("txn_1:step"),
            anext(unreachable.statement("USD", since=now - SECOND, until=now)),
        ]
        for call in calls:
            with pytest.raises(BankUnavailable):
                await call

    async def test_a_rail_with_batches_accepts_and_can_be_cancelled_if_it_says_so(self, sandbox: Sandbox) -> None:
        account = await linked(sandbox, 10_000)
        for able in sandbox.bank.capabilities.rails:
            if not able.settles_within_banking_days:
                continue
            asked = replace(instruct(account, 400), rail=able.rail)
            accepted = await sandbox.bank.pull(asked)
            assert (accepted.state, accepted.rail) == (PaymentState.ACCEPTED, able.rail)
            after = await sandbox.bank.cancel(asked.reference)
            assert isinstance(after, BankPayment)
            assert after.state is (PaymentState.CANCELLED if able.cancellable else PaymentState.ACCEPTED)
            assert await sandbox.bank.look_up(asked.reference) == after
            assert await statement_of(sandbox, asked.reference) == []

    async def test_what_is_above_a_rails_limit_is_refused_by_the_rail_alone(self, sandbox: Sandbox) -> None:
        for able in sandbox.bank.capabilities.rails:
            account = await linked(sandbox, able.most_minor_units + 1)
            asked = replace(instruct(account, able.most_minor_units + 1), rail=able.rail)
            refused = await sandbox.bank.pull(asked)
            assert (refused.state, refused.rail_only) == (PaymentState.REFUSED, True)
            assert await sandbox.balance(account.account_token) == able.most_minor_units + 1

    async def test_what_was_never_sent_or_has_settled_for_good_is_not_cancelled(self, sandbox: Sandbox) -> None:
        assert await sandbox.bank.cancel("txn_never:step") == NotSeen(reference="txn_never:step")
        settled = await sandbox.bank.pull(instruct(await linked(sandbox), 1))
        assert settled.state is PaymentState.SETTLED
        assert await sandbox.bank.cancel(settled.reference) == settled

    def test_the_capabilities_make_sense(self, sandbox: Sandbox) -> None:
        capabilities = sandbox.bank.capabilities
        assert capabilities.rails
        assert "USD" in capabilities.currencies
        assert capabilities.visibility_window_seconds > 0
        assert capabilities.calls_per_second > 0
        assert len({able.rail for able in capabilities.rails}) == len(capabilities.rails)
        assert all(able.most_minor_units > 0 for able in capabilities.rails)

    @pytest.mark.parametrize("direction", Direction)
    async def test_what_comes_back_is_told_by_look_up_and_statement(
        self, sandbox: Sandbox, direction: Direction
    ) -> None:
        account = await linked(sandbox)
        await sandbox.bank.pull(instruct(account, 500))
        order = instruct(account, 300)
        await (sandbox.bank.pull(order) if direction is Direction.PULL else sandbox.bank.push(order))
        before = await sandbox.balance(account.account_token)
        await sandbox.give_back(order.reference, "R10")
        known = await sandbox.bank.look_up(order.reference)
        assert isinstance(known, BankPayment)
        assert known.state is PaymentState.RETURNED
        assert known.returned is not None
        assert known.returned.code == "R10"
        paid, back = await statement_of(sandbox, order.reference)
        assert (paid.returned, back.kind, back.returned) == (None, LineKind.RETURN, known.returned)
        assert paid.minor_units == -back.minor_units
        change = 300 if direction is Direction.PULL else -300
        assert await sandbox.balance(account.account_token) == before + change
