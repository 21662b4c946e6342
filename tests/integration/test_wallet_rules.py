"""Frozen sides, limits and closed wallets, decided in the commit; and changes of rules, each recorded once."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import psycopg
import pytest

from domain.contracts.payments import IdempotencyRecord, StepResult
from domain.contracts.wallets import ChangeKind, WalletChange, WalletLimits
from domain.errors import CannotChangeWallet, IdempotencyKeyReused, WalletInUse
from domain.ids import WalletId
from domain.transactions import Step, StepDecision, TransactionKind
from ledger.invariants import verify
from ledger.local import LocalLedger
from ledger.service import AccountStatus
from tests.money.holds import capture, place
from tests.money.records import Records
from tests.money.requests import REFUSED_BY_BANK, Client, change_wallet
from tests.money.scratch import Database
from tests.stack.servers import Servers

POSTED = StepDecision.POSTED
FREEZE, UNFREEZE, LIMIT, CLOSE = ChangeKind.FREEZE, ChangeKind.UNFREEZE, ChangeKind.LIMIT, ChangeKind.CLOSE
MIDNIGHT = datetime(2026, 3, 9, 4, 0, tzinfo=UTC)
"""In New York, on the day after its clocks went forward: an hour earlier than in winter."""


async def pay(client: Client, source: WalletId, amount: int, at: datetime, *, to: WalletId | None = None) -> StepResult:
    """A transfer to `to`, or else a withdrawal, that was asked for at `at`."""
    kind = TransactionKind.TRANSFER if to else TransactionKind.WITHDRAWAL
    request = replace(client.request(kind, amount, source=source, destination=to), effective_at=at)
    return await client.ledger.begin(request, Step.SETTLE_TRANSFER if to else Step.HOLD_WITHDRAWAL)


def said(result: StepResult) -> str:
    """The decision in a word: posted, or why not."""
    return result.failure.code if result.failure else result.decision.value


async def sound(ledger: LocalLedger) -> bool:
    """Whether every invariant holds."""
    return all(finding.ok for finding in await verify(ledger.shards.all[0].engine))


def key(name: str, body: str = "") -> IdempotencyRecord:
    """An idempotency key as the API would record it."""
    digest, fingerprint = sha256(name.encode()).hexdigest()[:32], sha256(body.encode()).hexdigest()
    return IdempotencyRecord(key_digest=digest, fingerprint=fingerprint)


@pytest.mark.parametrize("sides", [(True, False), (False, True), (True, True)])
async def test_each_side_is_frozen_for_itself(client: Client, ledger: LocalLedger, sides: tuple[bool, bool]) -> None:
    wallet, other = await client.open_wallet(1_000), await client.open_wallet(1_000)
    frozen = await change_wallet(ledger, wallet, FREEZE, debits=sides[0], credits=sides[1])
    assert (frozen.status, frozen.debits_frozen, frozen.credits_frozen) == (AccountStatus.FROZEN, *sides)
    out = [await client.transfer(wallet, other, 1), await client.begin_withdrawal(wallet, 1)]
    into = [await client.transfer(other, wallet, 1), await client.begin_deposit(wallet, 1)]
    assert {said(result) for result in out} == {"wallet_frozen" if sides[0] else "posted"}
    assert {said(result) for result in into} == {"wallet_frozen" if sides[1] else "posted"}
    assert (await place(client, wallet, 1)).failure == out[0].failure
    active = await change_wallet(ledger, wallet, UNFREEZE)
    assert (active.status, active.debits_frozen, active.credits_frozen) == (AccountStatus.ACTIVE, False, False)
    assert said(await client.transfer(wallet, other, 1)) == said(await client.transfer(other, wallet, 1)) == "posted"
    assert await sound(ledger)


async def test_unfreezing_one_side_leaves_the_other_frozen(client: Client, ledger: LocalLedger) -> None:
    wallet, other = await client.open_wallet(1_000), await client.open_wallet(1_000)
    await change_wallet(ledger, wallet, FREEZE)
    half = await change_wallet(ledger, wallet, UNFREEZE, debits=False)
    assert (half.status, half.debits_frozen, half.credits_frozen) == (AccountStatus.FROZEN, True, False)
    assert said(await client.transfer(other, wallet, 1)) == "posted"
    assert said(await client.transfer(wallet, other, 1)) == "wallet_frozen"


async def test_a_payment_over_the_limit_is_decided_against_for_ever(client: Client, ledger: LocalLedger) -> None:
    wallet, other = await client.open_wallet(1_000), await client.open_wallet()
    await change_wallet(ledger, wallet, LIMIT, limits=WalletLimits(per_transaction=100))
    over = await client.transfer(wallet, other, 101, key="over")
    assert (over.decision, said(over)) == (StepDecision.REFUSED, "limit_per_transaction_exceeded")
    assert said(await client.begin_withdrawal(wallet, 101)) == "limit_per_transaction_exceeded"
    assert (await place(client, wallet, 101)).failure == over.failure
    assert [said(await client.transfer(wallet, other, 100)) for _ in range(2)] == ["posted"] * 2
    await change_wallet(ledger, wallet, LIMIT)
    assert said(await client.transfer(wallet, other, 101, key="over")) == "limit_per_transaction_exceeded"
    assert said(await client.transfer(wallet, other, 101)) == "posted"
    assert (await client.money(wallet), await client.money(other)) == ((699, 0), (301, 0))


async def test_a_daily_limit_counts_what_leaves_on_a_day_in_new_york(client: Client, ledger: LocalLedger) -> None:
    wallet, other = await client.open_wallet(1_000), await client.open_wallet(1_000)
    await change_wallet(ledger, wallet, LIMIT, limits=WalletLimits(daily=100))
    before, after = MIDNIGHT - timedelta(seconds=1), MIDNIGHT
    assert said(await pay(client, wallet, 60, before, to=other)) == "posted"
    assert said(await pay(client, wallet, 41, before)) == "limit_daily_exceeded"
    assert said(await pay(client, wallet, 40, before)) == "posted"
    assert said(await pay(client, other, 500, before, to=wallet)) == "posted"  # What arrives makes no room.
    assert said(await pay(client, wallet, 1, before, to=other)) == "limit_daily_exceeded"
    assert said(await pay(client, wallet, 100, after, to=other)) == "posted"
    assert said(await pay(client, wallet, 1, after)) == "limit_daily_exceeded"
    found = await client.wallet(wallet)
    assert (found.spent, found.spent_on) == (100, after.date())
    assert await sound(ledger)


async def test_time_that_runs_backwards_counts_as_the_last_day(client: Client, ledger: LocalLedger) -> None:
    wallet, other = await client.open_wallet(1_000), await client.open_wallet()
    await change_wallet(ledger, wallet, LIMIT, limits=WalletLimits(daily=100))
    assert said(await pay(client, wallet, 60, MIDNIGHT, to=other)) == "posted"
    yesterday = MIDNIGHT - timedelta(days=1)
    assert said(await pay(client, wallet, 41, yesterday, to=other)) == "limit_daily_exceeded"
    late = await pay(client, wallet, 40, yesterday)
    assert said(late) == "posted"
    await client.take(late, Step.RELEASE_WITHDRAWAL, failure=REFUSED_BY_BANK)
    assert said(await pay(client, wallet, 1, MIDNIGHT, to=other)) == "limit_daily_exceeded"
    assert await sound(ledger)


async def test_what_comes_back_on_the_day_can_leave_again(client: Client, ledger: LocalLedger) -> None:
    wallet, other = await client.open_wallet(1_000), await client.open_wallet()
    await change_wallet(ledger, wallet, LIMIT, limits=WalletLimits(daily=100))
    released, paid = await pay(client, wallet, 70, MIDNIGHT), await pay(client, wallet, 30, MIDNIGHT)
    await client.take(released, Step.RELEASE_WITHDRAWAL, failure=REFUSED_BY_BANK)
    await client.take(paid, Step.CAPTURE_WITHDRAWAL, Step.SETTLE_WITHDRAWAL)
    assert said(await pay(client, wallet, 71, MIDNIGHT, to=other)) == "limit_daily_exceeded"
    assert said(await pay(client, wallet, 70, MIDNIGHT, to=other)) == "posted"
    assert await sound(ledger)


async def test_what_comes_back_a_day_later_makes_no_room_then(client: Client, ledger: LocalLedger) -> None:
    wallet, other = await client.open_wallet(1_000), await client.open_wallet()
    await change_wallet(ledger, wallet, LIMIT, limits=WalletLimits(daily=100))
    held = await pay(client, wallet, 100, MIDNIGHT - timedelta(hours=1))
    assert said(await pay(client, wallet, 90, MIDNIGHT, to=other)) == "posted"
    await client.take(held, Step.RELEASE_WITHDRAWAL, failure=REFUSED_BY_BANK)
    assert said(await pay(client, wallet, 11, MIDNIGHT, to=other)) == "limit_daily_exceeded"
    assert said(await pay(client, wallet, 10, MIDNIGHT, to=other)) == "posted"


async def test_a_hold_counts_when_it_is_placed_and_not_again_when_it_is_captured(
    client: Client, ledger: LocalLedger
) -> None:
    wallet, shop = await client.open_wallet(1_000), await client.open_wallet()
    await change_wallet(ledger, wallet, LIMIT, limits=WalletLimits(daily=100))
    kept, freed = await place(client, wallet, 60), await place(client, wallet, 40)
    assert said(await client.transfer(wallet, shop, 1)) == "limit_daily_exceeded"
    assert said(await capture(client, kept, shop, 20)) == "posted"
    await ledger.release_hold(freed.hold_id)
    assert said(await client.transfer(wallet, shop, 40)) == "posted"
    assert said(await capture(client, kept, shop, 10, rest=True)) == "posted"
    assert said(await client.transfer(wallet, shop, 30)) == "posted"
    assert said(await client.transfer(wallet, shop, 1)) == "limit_daily_exceeded"
    assert (await client.wallet(wallet)).spent == 100
    assert await sound(ledger)


async def test_a_crowd_does_not_get_past_a_daily_limit(client: Client, ledger: LocalLedger) -> None:
    wallet, other = await client.open_wallet(10_000), await client.open_wallet()
    await change_wallet(ledger, wallet, LIMIT, limits=WalletLimits(daily=100))
    results = await asyncio.gather(*(client.transfer(wallet, other, 7) for _ in range(60)))
    assert sorted(map(said, results)) == ["limit_daily_exceeded"] * 46 + ["posted"] * 14
    assert await client.money(other) == (98, 0)


async def test_limits_that_are_set_in_the_day_count_what_left_before(client: Client, ledger: LocalLedger) -> None:
    wallet, other = await client.open_wallet(1_000), await client.open_wallet()
    await client.transfer(wallet, other, 150)
    await change_wallet(ledger, wallet, LIMIT, limits=WalletLimits(daily=200))
    assert said(await client.transfer(wallet, other, 51)) == "limit_daily_exceeded"
    assert said(await client.transfer(wallet, other, 50)) == "posted"


async def test_a_new_wallet_has_the_limits_that_the_settings_say(database: Database, bare_servers: Servers) -> None:
    settings = database.settings(bare_servers.settings, wallet_limit_per_transaction=50, wallet_limit_daily=70)
    ledger = LocalLedger(settings)
    client = Client(ledger)
    wallet, other = await client.open_wallet(1_000), await client.open_wallet()
    assert (await client.wallet(wallet)).limits == WalletLimits(per_transaction=50, daily=70)
    results = [said(await client.transfer(wallet, other, amount)) for amount in (51, 50, 21, 20)]
    assert results == ["limit_per_transaction_exceeded", "posted", "limit_daily_exceeded", "posted"]
    assert await sound(ledger)
    await ledger.aclose()


async def test_only_an_empty_wallet_that_nothing_concerns_can_be_closed(client: Client, ledger: LocalLedger) -> None:
    wallet, other = await client.open_wallet(100), await client.open_wallet()
    with pytest.raises(WalletInUse, match="100 USD, 0 of it held"):
        await change_wallet(ledger, wallet, CLOSE)
    await client.transfer(wallet, other, 100)
    arriving = await client.begin_deposit(wallet, 5)
    with pytest.raises(WalletInUse, match="under way"):
        await change_wallet(ledger, wallet, CLOSE)
    await client.take(arriving, Step.FAIL_DEPOSIT, failure=REFUSED_BY_BANK)
    assert (await change_wallet(ledger, wallet, CLOSE)).status is AccountStatus.CLOSED
    assert (await client.wallet(wallet)).status is AccountStatus.CLOSED
    assert await sound(ledger)


async def test_a_closed_wallet_is_never_opened_again(client: Client, ledger: LocalLedger, records: Records) -> None:
    wallet = await client.open_wallet()
    closed = await change_wallet(ledger, wallet, CLOSE)
    assert await change_wallet(ledger, wallet, CLOSE) == closed
    for kind in (UNFREEZE, FREEZE, LIMIT):
        with pytest.raises(CannotChangeWallet):
            await change_wallet(ledger, wallet, kind)
    with pytest.raises(psycopg.errors.Error, match="is closed"):
        records.connection.execute("UPDATE ledger.accounts SET status = 'active' WHERE account_id = %s", [wallet.uuid])
    assert await client.wallet(wallet) == closed


async def test_a_crowd_of_payments_and_a_closing_leave_no_money_in_a_closed_wallet(
    client: Client, ledger: LocalLedger
) -> None:
    payer, wallets = await client.open_wallet(1_000), [await client.open_wallet() for _ in range(20)]

    async def close(wallet: WalletId) -> bool:
        try:
            await change_wallet(ledger, wallet, CLOSE)
        except WalletInUse:
            return False
        return True

    async def race(wallet: WalletId) -> None:
        paid, closed = await asyncio.gather(client.transfer(payer, wallet, 1), close(wallet))
        assert (paid.decision is POSTED) is not closed
        assert await client.money(wallet) == ((0, 0) if closed else (1, 0))

    await asyncio.gather(*map(race, wallets))
    assert await sound(ledger)


async def test_a_change_is_recorded_once_for_its_key_with_who_and_why(
    client: Client, ledger: LocalLedger, records: Records
) -> None:
    wallet = await client.open_wallet()
    freeze = WalletChange(kind=FREEZE, by="operator:cl_1", reason="Reported stolen", credits=False, key=key("one"))
    results = await asyncio.gather(*(ledger.change_wallet(wallet, freeze) for _ in range(20)))
    assert sorted(result.replayed for result in results) == [False] + [True] * 19
    assert {result.wallet.debits_frozen for result in results} == {True}
    await change_wallet(ledger, wallet, UNFREEZE)
    again = await ledger.change_wallet(wallet, freeze)
    assert (again.replayed, again.wallet.status) == (True, AccountStatus.ACTIVE)
    with pytest.raises(IdempotencyKeyReused):
        await ledger.change_wallet(wallet, replace(freeze, key=key("one", "another body")))
    await change_wallet(ledger, wallet, UNFREEZE)  # Without a key, what changes nothing is not recorded.
    found = records.connection.execute(
        """SELECT number, kind, changed_by, reason, debits_frozen, credits_frozen FROM ledger.account_changes
        WHERE account_id = %s ORDER BY number""",
        [wallet.uuid],
    ).fetchall()
    assert found == [
        (1, "freeze", "operator:cl_1", "Reported stolen", True, False),
        (2, "unfreeze", "tests", "a test", False, False),
    ]
    assert await sound(ledger)


@pytest.mark.parametrize("role", ["sagapay_app", "sagapay_owner"])
@pytest.mark.parametrize(
    "statement", ["UPDATE ledger.account_changes SET reason = ''", "DELETE FROM ledger.account_changes"]
)
async def test_what_was_changed_stays_recorded(
    client: Client, ledger: LocalLedger, database: Database, role: str, statement: str
) -> None:
    await change_wallet(ledger, await client.open_wallet(), FREEZE)
    with (
        database.connect(role) as connection,
        pytest.raises(psycopg.errors.Error, match=r"permission denied|immutable"),
    ):
        connection.execute(statement.encode())
