"""Clients' holds on the real ledger: placed, captured in parts, released, expired; every path and every refusal."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from pydantic import TypeAdapter

from domain.clock import SettableClock
from domain.contracts.wallets import ChangeKind
from domain.errors import IdempotencyKeyReused, LedgerRejected, NotFound
from domain.events import AnyEvent, HoldEvent
from domain.holds import HoldStatus
from domain.ids import ClientId, HoldId, WalletId
from domain.transactions import Step, StepDecision, TransactionKind
from ledger.invariants import verify
from ledger.local import LocalLedger
from ledger.service import Hold
from ledger.work import EndHold
from tests.money.holds import HOUR, capture, capture_request, hold_request, place, standing
from tests.money.records import Records
from tests.money.requests import REFUSED_BY_BANK, Client, again, change_wallet
from tests.money.scratch import Database
from tests.stack.servers import Servers

ACTIVE, CAPTURED, RELEASED = HoldStatus.ACTIVE, HoldStatus.CAPTURED, HoldStatus.RELEASED
EXPIRED, FAILED = HoldStatus.EXPIRED, HoldStatus.FAILED
POSTED, REFUSED = StepDecision.POSTED, StepDecision.REFUSED
EVENTS: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)

T = TypeVar("T")


def present(found: T | None) -> T:
    """What has to be there."""
    assert found is not None
    return found


def told(records: Records, hold: Hold) -> list[tuple[str, HoldStatus, int]]:
    """The hold's events as their models read them: type, status and captured."""
    rows = records.rows("SELECT data::text FROM ledger.outbox WHERE key = %s ORDER BY xid, id", str(hold.hold_id))
    events = [EVENTS.validate_json(str(data)) for (data,) in rows]
    return [(event.type, event.status, event.captured) for event in events if isinstance(event, HoldEvent)]


async def sound(ledger: LocalLedger) -> bool:
    """Whether every invariant holds."""
    findings = await verify(ledger.shards.all[0].engine)
    assert [(finding.name, finding.violations) for finding in findings if not finding.ok] == []
    return True


async def test_a_hold_reserves_money_and_is_captured_in_parts(
    client: Client, records: Records, ledger: LocalLedger
) -> None:
    wallet, shop = await client.open_wallet(1_000), await client.open_wallet()
    hold = await place(client, wallet, 400)
    assert (hold.status, hold.captured, hold.remaining, hold.failure) == (ACTIVE, 0, 400, None)
    assert await client.money(wallet) == (1_000, 400)
    first = await capture(client, hold, shop, 150)
    assert (first.decision, first.step) == (POSTED, Step.CAPTURE_HOLD)
    assert await client.money(wallet) == (850, 250)
    assert await standing(client, hold) == (ACTIVE, 150, 250)
    await capture(client, hold, shop, 250)
    assert await client.money(wallet) == (600, 0)
    assert await client.money(shop) == (400, 0)
    assert await standing(client, hold) == (CAPTURED, 400, 0)
    paid = present(await ledger.transaction(first.transaction_id))
    assert (paid.kind, paid.hold_id) == (TransactionKind.TRANSFER, hold.hold_id)
    assert records.commits(first.transaction_id) == 1
    assert told(records, hold) == [
        ("hold.placed", ACTIVE, 0),
        ("hold.captured", ACTIVE, 150),
        ("hold.captured", CAPTURED, 400),
    ]
    assert await sound(ledger)


async def test_the_last_capture_releases_the_rest_in_its_commit(
    client: Client, records: Records, ledger: LocalLedger
) -> None:
    wallet, shop = await client.open_wallet(500), await client.open_wallet()
    hold = await place(client, wallet, 400)
    taken = await capture(client, hold, shop, 120, rest=True)
    assert await client.money(wallet) == (380, 0)
    assert await standing(client, hold) == (CAPTURED, 120, 0)
    writers = records.value(
        "SELECT count(DISTINCT writer) FROM (SELECT xmin::text AS writer FROM ledger.holds WHERE hold_id = %s "
        "UNION ALL SELECT xmin::text FROM ledger.transactions WHERE transaction_id = %s) rows",
        hold.hold_id.uuid,
        taken.transaction_id.uuid,
    )
    assert writers == 1
    assert told(records, hold)[-1] == ("hold.captured", CAPTURED, 120)
    assert await sound(ledger)


async def test_a_release_gives_back_what_remains_and_comes_once(
    client: Client, records: Records, ledger: LocalLedger
) -> None:
    wallet, shop = await client.open_wallet(500), await client.open_wallet()
    hold = await place(client, wallet, 400)
    await capture(client, hold, shop, 100)
    released = await ledger.release_hold(hold.hold_id)
    assert (released.status, released.captured, released.remaining) == (RELEASED, 100, 0)
    assert await client.money(wallet) == (400, 0)
    assert await ledger.release_hold(hold.hold_id) == released
    assert told(records, hold)[-1] == ("hold.released", RELEASED, 100)
    assert len(told(records, hold)) == 3
    assert await sound(ledger)


async def test_an_ended_hold_stays_as_it_ended(client: Client, ledger: LocalLedger) -> None:
    wallet, shop = await client.open_wallet(500), await client.open_wallet()
    hold = await place(client, wallet, 50)
    await capture(client, hold, shop, 50)
    assert (await ledger.release_hold(hold.hold_id)).status is CAPTURED
    with pytest.raises(NotFound):
        await ledger.release_hold(HoldId.new(wallet.bucket))


@pytest.mark.parametrize(("amount", "code"), [(101, "insufficient_funds"), (1, "wallet_frozen"), (2, "wallet_closed")])
async def test_a_hold_that_cannot_be_placed_is_recorded_as_failed(
    client: Client, records: Records, ledger: LocalLedger, amount: int, code: str
) -> None:
    balance = 0 if code == "wallet_closed" else 100
    wallet = await client.open_wallet(balance)
    if code != "insufficient_funds":
        await change_wallet(ledger, wallet, ChangeKind.FREEZE if "frozen" in code else ChangeKind.CLOSE)
    hold = await place(client, wallet, amount)
    assert (hold.status, present(hold.failure).code, hold.remaining) == (FAILED, code, 0)
    assert present(await ledger.hold(hold.hold_id)) == hold
    assert await client.money(wallet) == (balance, 0)
    assert told(records, hold) == [("hold.failed", FAILED, 0)]
    assert await sound(ledger)


async def test_a_hold_in_another_currency_fails(client: Client) -> None:
    wallet = await client.open_wallet(100)
    accepted = await client.ledger.place_hold(hold_request(client, wallet, 10, currency="EUR"))
    assert present(accepted.hold.failure).code == "currency_mismatch"


async def test_held_money_is_nobody_elses(client: Client) -> None:
    wallet, shop = await client.open_wallet(100), await client.open_wallet()
    hold = await place(client, wallet, 70)
    assert (await client.transfer(wallet, shop, 31)).decision is REFUSED
    assert (await client.begin_withdrawal(wallet, 31)).decision is REFUSED
    assert (await place(client, wallet, 31)).status is FAILED
    assert (await client.transfer(wallet, shop, 30)).decision is POSTED
    assert (await capture(client, hold, shop, 70)).decision is POSTED
    assert await client.money(wallet) == (0, 0)


async def test_captures_that_are_decided_against_are_recorded_and_move_nothing(
    client: Client, ledger: LocalLedger
) -> None:
    wallet, shop, frozen = [await client.open_wallet(amount) for amount in (1_000, 0, 0)]
    await change_wallet(ledger, frozen, ChangeKind.FREEZE)
    holds = {status: await place(client, wallet, 50) for status in (ACTIVE, CAPTURED, RELEASED)}
    holds[EXPIRED] = await place(client, wallet, 50, life=-HOUR)
    holds[FAILED] = await place(client, wallet, 2_000)
    await capture(client, holds[CAPTURED], shop, 50)
    await ledger.release_hold(holds[RELEASED].hold_id)
    overdue = await capture(client, holds[EXPIRED], shop, 1)
    assert present(overdue.failure).code == "hold_ended"
    await ledger.expire_holds(10)
    before = await client.money(wallet), await client.money(shop)
    for status in (CAPTURED, RELEASED, EXPIRED, FAILED):
        late = await capture(client, holds[status], shop, 1)
        assert (late.decision, present(late.failure).code) == (REFUSED, "hold_ended"), status
        paid = present(await ledger.transaction(late.transaction_id))
        assert (present(paid.failure).code, paid.hold_id) == ("hold_ended", holds[status].hold_id)
    assert present((await capture(client, holds[ACTIVE], shop, 51)).failure).code == "hold_exceeded"
    assert present((await capture(client, holds[ACTIVE], frozen, 1)).failure).code == "wallet_frozen"
    assert (await client.money(wallet), await client.money(shop)) == before
    assert await standing(client, holds[ACTIVE]) == (ACTIVE, 0, 50)
    assert await sound(ledger)


async def test_a_capture_asked_for_in_time_is_made_and_one_asked_for_later_is_not(client: Client) -> None:
    wallet, shop = await client.open_wallet(100), await client.open_wallet()
    hold = await place(client, wallet, 100)
    assert (await capture(client, hold, shop, 1, late=HOUR - timedelta(minutes=1))).decision is POSTED
    assert present((await capture(client, hold, shop, 1, late=HOUR)).failure).code == "hold_ended"


async def test_a_key_places_one_hold_and_answers_it_as_it_is_now(client: Client, ledger: LocalLedger) -> None:
    wallet = await client.open_wallet(100)
    asked = hold_request(client, wallet, 60)
    first = await ledger.place_hold(asked)
    repeated = replace(asked, hold_id=HoldId.new(wallet.bucket))
    again_placed = await ledger.place_hold(repeated)
    assert (again_placed.replayed, again_placed.hold) == (True, first.hold)
    await ledger.release_hold(first.hold.hold_id)
    assert (await ledger.place_hold(repeated)).hold.status is RELEASED
    with pytest.raises(IdempotencyKeyReused):
        await ledger.place_hold(replace(repeated, idempotency=replace(asked.idempotency, fingerprint="00" * 32)))
    assert await client.money(wallet) == (100, 0)


async def test_a_key_captures_once(client: Client, ledger: LocalLedger) -> None:
    wallet, shop = await client.open_wallet(100), await client.open_wallet()
    hold = await place(client, wallet, 60)
    asked = capture_request(client, hold, shop, 20)
    first = await ledger.begin(asked, Step.CAPTURE_HOLD)
    second = await ledger.begin(again(asked), Step.CAPTURE_HOLD)
    assert (second.replayed, second.transaction_id) == (True, first.transaction_id)
    assert await standing(client, hold) == (ACTIVE, 20, 40)


async def test_one_key_is_a_holds_or_a_payments(client: Client, ledger: LocalLedger) -> None:
    wallet, shop = await client.open_wallet(100), await client.open_wallet()
    asked = hold_request(client, wallet, 60)
    payment = client.request(TransactionKind.TRANSFER, 5, source=wallet, destination=shop)
    await ledger.place_hold(asked)
    await ledger.begin(payment, Step.SETTLE_TRANSFER)
    with pytest.raises(IdempotencyKeyReused):
        await ledger.begin(replace(again(payment), idempotency=asked.idempotency), Step.SETTLE_TRANSFER)
    of_the_payment = replace(asked, hold_id=HoldId.new(wallet.bucket), idempotency=present(payment.idempotency))
    with pytest.raises(IdempotencyKeyReused):
        await ledger.place_hold(of_the_payment)


async def test_what_is_never_right_is_rejected_and_writes_nothing(
    client: Client, records: Records, ledger: LocalLedger
) -> None:
    wallet, shop = await client.open_wallet(100), await client.open_wallet(100)
    hold, others = await place(client, wallet, 50), await place(client, shop, 50)
    withdrawal = await client.begin_withdrawal(wallet, 10)
    ((saga,),) = records.rows(
        "SELECT hold_id FROM ledger.holds WHERE transaction_id = %s", withdrawal.transaction_id.uuid
    )
    before = records.sizes()
    strangers = replace(client, client_id=ClientId.new(0))
    wrong = [
        capture_request(client, replace(hold, hold_id=HoldId.new(0)), shop, 1),
        capture_request(client, replace(hold, hold_id=others.hold_id), shop, 1),
        capture_request(client, replace(hold, hold_id=HoldId.of(saga)), shop, 1),  # type: ignore[arg-type]
        capture_request(client, hold, wallet, 1),
        capture_request(client, hold, WalletId.new(wallet.bucket), 1),
        capture_request(strangers, hold, shop, 1),
        client.request(TransactionKind.TRANSFER, 1, source=wallet, destination=shop),
    ]
    for asked in wrong:
        with pytest.raises(LedgerRejected):
            await ledger.begin(asked, Step.CAPTURE_HOLD)
    with pytest.raises(LedgerRejected):
        await ledger.begin(capture_request(client, hold, shop, 1), Step.SETTLE_TRANSFER)
    leaving = client.request(TransactionKind.WITHDRAWAL, 1, source=wallet)
    with pytest.raises(LedgerRejected):
        await ledger.begin(replace(leaving, hold_id=hold.hold_id), Step.HOLD_WITHDRAWAL)
    with pytest.raises(LedgerRejected):
        await client.ledger.place_hold(hold_request(client, WalletId.new(wallet.bucket), 1))
    assert records.sizes() == before


async def test_holds_are_listed_newest_first_without_those_of_sagas(client: Client, ledger: LocalLedger) -> None:
    wallet = await client.open_wallet(100)
    placed = [await place(client, wallet, amount) for amount in (1, 2, 3)]
    await client.begin_withdrawal(wallet, 4)
    assert await ledger.holds(wallet, before=None, limit=10) == placed[::-1]
    assert await ledger.holds(wallet, before=placed[2].hold_id, limit=1) == [placed[1]]
    assert await ledger.holds(wallet, before=placed[0].hold_id, limit=10) == []


async def test_holds_expire_at_their_time_in_business_time_and_not_before(
    client: Client, records: Records, database: Database, bare_servers: Servers
) -> None:
    wallet = await client.open_wallet(100)
    soon, later = await place(client, wallet, 10, life=HOUR), await place(client, wallet, 20, life=2 * HOUR)
    clock = SettableClock(datetime.now(UTC))
    sweeper = LocalLedger(database.settings(bare_servers.settings), clock)
    await sweeper.expire_holds(100)
    assert await client.money(wallet) == (100, 30)
    clock.set(soon.expires_at)
    assert await sweeper.expire_holds(100) >= 1
    assert await standing(client, soon) == (EXPIRED, 0, 0)
    assert await standing(client, later) == (ACTIVE, 0, 20)
    assert await sweeper.expire_holds(100) == 0
    assert await client.money(wallet) == (100, 20)
    assert told(records, soon) == [("hold.placed", ACTIVE, 0), ("hold.expired", EXPIRED, 0)]
    early = EndHold(later.hold_id, wallet, EXPIRED, clock.now())
    with pytest.raises(LedgerRejected):
        await sweeper._writers[0].post(early)
    assert await sound(sweeper)
    await sweeper.aclose()


async def test_a_sagas_hold_never_expires(
    client: Client, records: Records, database: Database, bare_servers: Servers
) -> None:
    wallet = await client.open_wallet(100)
    begun = await client.begin_withdrawal(wallet, 40)
    far = SettableClock(datetime(2999, 1, 1, tzinfo=UTC))
    sweeper = LocalLedger(database.settings(bare_servers.settings), far)
    while await sweeper.expire_holds(100):
        pass
    assert records.hold(begun.transaction_id) == ("active", 40, 0)
    assert await client.money(wallet) == (100, 40)
    await client.take(begun, Step.RELEASE_WITHDRAWAL, failure=REFUSED_BY_BANK)
    await sweeper.aclose()


async def test_a_sweep_ends_what_is_due_in_pages(client: Client, ledger: LocalLedger) -> None:
    wallet = await client.open_wallet(100)
    holds = [await place(client, wallet, 1, life=-HOUR) for _ in range(7)]
    looked_at = []
    while due := await ledger.expire_holds(3):
        looked_at.append(due)
    assert looked_at == [3, 3, 1]
    assert {(await standing(client, hold))[0] for hold in holds} == {EXPIRED}
    assert await client.money(wallet) == (100, 0)
