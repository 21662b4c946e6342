"""What is available of a deposit: a part at once, the rest when its bank is unlikely to take it back."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.expiry import ExpiryActivities
from domain.availability import Tier, deferral
from domain.clock import SettableClock
from domain.contracts.payments import StepResult
from domain.errors import LedgerRejected
from domain.rails import Rail
from domain.transactions import Step, StepDecision, TransactionStatus
from ledger.invariants import verify
from ledger.local import LocalLedger
from ledger.service import LedgerService
from tests.money.deferring import AT_ONCE, ach_deposit, begin_ach_deposit
from tests.money.records import Records
from tests.money.requests import Client
from tests.money.scratch import Database
from tests.stack.servers import Servers

MONTH = timedelta(days=30)
TERMS = {Rail.ACH: Tier(at_once=AT_ONCE, banking_days=5)}
FRIDAY = datetime(2026, 7, 3, 3, 59, tzinfo=UTC)
"""Still Thursday in New York; Saturday is the holiday."""


@pytest.fixture
async def later(database: Database, bare_servers: Servers) -> AsyncIterator[LocalLedger]:
    """The ledger as another process has it, a month from now."""
    service = LocalLedger(database.settings(bare_servers.settings), SettableClock(datetime.now(UTC) + MONTH))
    yield service
    await service.aclose()


async def _mature_all(ledger: LedgerService) -> None:
    while await ledger.mature_deposits(2):
        pass


async def _standing(client: Client, begun: StepResult) -> TransactionStatus:
    found = await client.ledger.transaction(begun.transaction_id)
    assert found is not None
    return found.status


@pytest.mark.parametrize(
    ("rail", "amount", "waits"),
    [
        (Rail.ACH, AT_ONCE, None),
        (Rail.ACH, AT_ONCE + 1, 1),
        (Rail.INSTANT, 9 * AT_ONCE, None),
        (None, AT_ONCE * 2, None),
    ],
)
def test_what_is_above_the_limit_waits_on_a_rail_that_returns(
    rail: Rail | None, amount: int, waits: int | None
) -> None:
    found = deferral(TERMS, rail, amount, FRIDAY)
    assert (found and found.amount) == waits


def test_days_are_banking_days_from_the_one_of_the_credit() -> None:
    found = deferral(TERMS, Rail.ACH, AT_ONCE + 1, FRIDAY)
    assert found is not None
    assert found.available_at == datetime(2026, 7, 9, 4, tzinfo=UTC)


async def test_a_part_can_be_spent_at_once_and_the_rest_after_its_time(
    client: Client, records: Records, later: LocalLedger
) -> None:
    wallet, shop = await client.open_wallet(), await client.open_wallet()
    deposit = await ach_deposit(client, wallet, AT_ONCE + 500)
    assert await client.money(wallet) == (AT_ONCE + 500, 500)
    lacking = await client.transfer(wallet, shop, AT_ONCE + 1)
    assert lacking.failure is not None
    assert lacking.failure.code == "insufficient_funds"
    assert (await client.transfer(wallet, shop, AT_ONCE)).failure is None
    await _mature_all(client.ledger)
    assert await client.money(wallet) == (500, 500)
    await _mature_all(later)
    assert await client.money(wallet) == (500, 0)
    assert records.hold(deposit.transaction_id) == ("released", 500, 0)
    assert await _standing(client, deposit) is TransactionStatus.SUCCEEDED
    assert (await client.transfer(wallet, shop, 500)).failure is None


async def test_the_sweep_of_holds_lets_deposits_mature(client: Client, later: LocalLedger) -> None:
    wallet = await client.open_wallet()
    for _ in range(3):
        await ach_deposit(client, wallet, AT_ONCE + 500)
    report = await ActivityEnvironment().run(ExpiryActivities(later).expire_holds)
    assert report.matured >= 3
    assert await client.money(wallet) == (3 * AT_ONCE + 1_500, 0)
    again = await ActivityEnvironment().run(ExpiryActivities(later).expire_holds)
    assert again.matured == 0


async def test_nothing_matures_before_it_has_settled_or_twice(client: Client, later: LocalLedger) -> None:
    wallet = await client.open_wallet()
    begun = await begin_ach_deposit(client, wallet, AT_ONCE + 500)
    await client.take(begun, Step.CREDIT_DEPOSIT)
    await _mature_all(later)
    assert await client.money(wallet) == (AT_ONCE + 500, 500)
    await client.take(begun, Step.SETTLE_DEPOSIT)
    with pytest.raises(LedgerRejected, match="not available before"):
        await client.take(begun, Step.MATURE_DEPOSIT)
    inside = Client(later, client_id=client.client_id, bank=client.bank)
    first, again = await inside.take(begun, Step.MATURE_DEPOSIT), await inside.take(begun, Step.MATURE_DEPOSIT)
    assert (first.decision, first.replayed, again.replayed) == (StepDecision.POSTED, False, True)
    assert await client.money(wallet) == (AT_ONCE + 500, 0)


async def test_a_return_takes_what_waits_of_its_own_deposit_first_and_never_of_another(
    client: Client, records: Records
) -> None:
    wallet, shop = await client.open_wallet(), await client.open_wallet()
    other = await ach_deposit(client, wallet, AT_ONCE + 300)
    deposit = await ach_deposit(client, wallet, AT_ONCE + 500)
    await client.transfer(wallet, shop, 2 * AT_ONCE - 100)
    await client.take_back(deposit, Step.RETURN_DEPOSIT)
    found = await client.wallet(wallet)
    assert (found.posted, found.held, found.owed) == (300, 300, AT_ONCE - 100)
    assert records.hold(deposit.transaction_id) == ("captured", 500, 500)
    assert records.hold(other.transaction_id) == ("active", 300, 0)
    await client.take_back(other, Step.RETURN_DEPOSIT)
    found = await client.wallet(wallet)
    assert (found.posted, found.held, found.owed) == (0, 0, 2 * AT_ONCE - 100)


async def test_what_comes_to_a_wallet_that_owes_pays_first_and_waits_with_the_rest(client: Client) -> None:
    wallet, shop = await client.open_wallet(), await client.open_wallet()
    owed = await client.deposit(wallet, 2 * AT_ONCE)
    await client.transfer(wallet, shop, 2 * AT_ONCE)
    await client.take_back(owed, Step.RETURN_DEPOSIT)
    await ach_deposit(client, wallet, 4 * AT_ONCE)
    found = await client.wallet(wallet)
    assert (found.posted, found.held, found.owed) == (2 * AT_ONCE, 2 * AT_ONCE, 0)
    await ach_deposit(client, wallet, AT_ONCE + 1)
    assert await client.money(wallet) == (3 * AT_ONCE + 1, 2 * AT_ONCE + 1)


async def test_what_has_matured_is_taken_back_like_any_money(client: Client, later: LocalLedger) -> None:
    wallet = await client.open_wallet()
    deposit = await ach_deposit(client, wallet, AT_ONCE + 500)
    await _mature_all(later)
    await client.take_back(deposit, Step.RETURN_DEPOSIT)
    assert await client.money(wallet) == (0, 0)


async def test_steps_that_come_at_once_place_and_end_what_waits(client: Client) -> None:
    wallet = await client.open_wallet()
    for _ in range(10):
        begun = await begin_ach_deposit(client, wallet, AT_ONCE + 500)
        await asyncio.gather(
            client.take(begun, Step.CREDIT_DEPOSIT),
            client.take(begun, Step.SETTLE_DEPOSIT),
            client.take_back(begun, Step.RETURN_DEPOSIT),
            return_exceptions=True,
        )
        await client.take(begun, Step.CREDIT_DEPOSIT, Step.SETTLE_DEPOSIT)
        await client.take_back(begun, Step.RETURN_DEPOSIT)
        assert await client.money(wallet) == (0, 0)


async def test_sweeps_returns_and_payments_race_for_what_waits(
    client: Client, records: Records, ledger: LocalLedger, later: LocalLedger
) -> None:
    shop, chance = await client.open_wallet(), random.Random(7)
    wallets = [await client.open_wallet() for _ in range(12)]
    deposits = [await ach_deposit(client, wallet, AT_ONCE + 500) for wallet in wallets]
    acts = [
        *(client.take_back(deposit, Step.RETURN_DEPOSIT) for deposit in deposits[:9]),
        *(client.transfer(wallet, shop, amount) for wallet in wallets for amount in (AT_ONCE, 500, 250)),
        *(later.mature_deposits(5) for _ in range(6)),
    ]
    chance.shuffle(acts)
    await asyncio.gather(*acts)
    await _mature_all(later)
    for wallet, deposit in zip(wallets, deposits, strict=True):
        found, hold = await client.wallet(wallet), records.hold(deposit.transaction_id)
        returned = await _standing(client, deposit) is TransactionStatus.RETURNED
        assert hold in (("released", 500, 0), ("captured", 500, 500))
        assert (found.held, found.posted * found.owed) == (0, 0)
        assert returned or (hold is not None and hold[0] == "released")
    findings = await verify(ledger.shards.all[0].engine)
    assert [(finding.name, finding.violations) for finding in findings if not finding.ok] == []
