"""Captures, releases and expiry race on real connections: a hold ends once, and never gives more than it held."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from domain.clock import SettableClock
from domain.holds import HoldStatus
from domain.transactions import Step, StepDecision
from ledger.invariants import verify
from ledger.local import LocalLedger
from tests.money.holds import HOUR, capture, capture_request, hold_request, place, standing
from tests.money.records import Records
from tests.money.requests import Client, again
from tests.money.scratch import Database
from tests.stack.servers import Servers

DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
ENDINGS = "SELECT count(*) FROM ledger.outbox WHERE key = %s AND data->>'status' <> 'active'"


@pytest.fixture
async def services(database: Database, bare_servers: Servers) -> AsyncIterator[list[LocalLedger]]:
    """Four services with pools of their own, as four processes have them; to the last it is two hours later."""
    settings = database.settings(bare_servers.settings, database_pool_size=4)
    late = SettableClock(datetime.now(UTC) + 2 * HOUR)
    made = [*(LocalLedger(settings) for _ in range(3)), LocalLedger(settings, late)]
    yield made
    for service in made:
        await service.aclose()


def at(client: Client, service: LocalLedger) -> Client:
    """The same app in another process."""
    return Client(service, client_id=client.client_id, bank=client.bank)


async def test_hundreds_of_captures_releases_and_expiries_of_one_hold(
    client: Client, records: Records, services: list[LocalLedger]
) -> None:
    wallet, shops = await client.open_wallet(10_000), [await client.open_wallet() for _ in range(3)]
    before, chance, ends = records.value(DEADLOCKS), random.Random(5), Counter[HoldStatus]()
    taken = 0
    for ending in (None, "release", "expire", "final"):
        hold = await place(client, wallet, 1_000)

        async def act(number: int, what: str | None) -> int:
            caller = at(client, services[number % 3])
            match what:
                case "release":
                    await services[number % 3].release_hold(hold.hold_id)  # noqa: B023  -- gathered in this round
                case "expire":
                    await services[3].expire_holds(100)
                case _:
                    amount = chance.randint(1, 25)
                    result = await capture(caller, hold, shops[number % 3], amount, rest=what == "final")  # noqa: B023
                    return amount if result.decision is StepDecision.POSTED else 0
            return 0

        acts = [act(number, ending if number % 40 == 20 else None) for number in range(150)]
        amounts = await asyncio.gather(*acts)
        status, captured, remaining = await standing(client, hold)
        assert captured == sum(amounts) <= 1_000
        assert records.value(ENDINGS, str(hold.hold_id)) == (status is not HoldStatus.ACTIVE)
        await client.ledger.release_hold(hold.hold_id)
        ends[(await standing(client, hold))[0]] += 1
        assert remaining == (1_000 - captured if status is HoldStatus.ACTIVE else 0)
        taken += captured
    assert await client.money(wallet) == (10_000 - taken, 0)
    assert sum([(await client.money(shop))[0] for shop in shops]) == taken
    assert ends[HoldStatus.EXPIRED] + ends[HoldStatus.RELEASED] + ends[HoldStatus.CAPTURED] == 4
    records.rows("SELECT pg_stat_clear_snapshot()")
    assert records.value(DEADLOCKS) == before
    findings = await verify(services[0].shards.all[0].engine)
    assert [(finding.name, finding.violations) for finding in findings if not finding.ok] == []


async def test_one_cent_more_than_the_hold_is_captured_by_nobody(client: Client, services: list[LocalLedger]) -> None:
    wallet, shop = await client.open_wallet(1_000), await client.open_wallet()
    hold = await place(client, wallet, 100)
    results = await asyncio.gather(*(capture(at(client, services[number % 3]), hold, shop, 30) for number in range(40)))
    assert sum(result.decision is StepDecision.POSTED for result in results) == 3
    codes = {result.failure.code for result in results if result.failure}
    assert codes == {"hold_exceeded"}
    assert await standing(client, hold) == (HoldStatus.ACTIVE, 90, 10)


async def test_a_key_of_many_callers_holds_and_captures_once(client: Client, services: list[LocalLedger]) -> None:
    wallet, shop = await client.open_wallet(1_000), await client.open_wallet()
    asked = hold_request(client, wallet, 100)
    accepted = await asyncio.gather(*(services[number % 3].place_hold(asked) for number in range(30)))
    assert sorted(answer.replayed for answer in accepted) == [False] + [True] * 29
    (hold,) = {answer.hold for answer in accepted}
    payment = capture_request(client, hold, shop, 60)
    results = await asyncio.gather(
        *(services[number % 3].begin(again(payment), Step.CAPTURE_HOLD) for number in range(30))
    )
    assert len({result.transaction_id for result in results}) == 1
    assert await client.money(wallet) == (940, 40)


async def test_sweeps_at_the_same_time_end_each_hold_once(
    client: Client, records: Records, services: list[LocalLedger]
) -> None:
    wallet = await client.open_wallet(1_000)
    holds = [await place(client, wallet, 1, life=timedelta(minutes=number + 1)) for number in range(40)]
    await asyncio.gather(*(services[3].expire_holds(25) for _ in range(6)))
    while await services[3].expire_holds(25):
        pass
    assert {(await standing(client, hold))[0] for hold in holds} == {HoldStatus.EXPIRED}
    assert {records.value(ENDINGS, str(hold.hold_id)) for hold in holds} == {1}
    assert await client.money(wallet) == (1_000, 0)
