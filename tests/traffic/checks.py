"""What must hold once every payment has ended, whatever was killed meanwhile."""

import asyncio
import random
from contextlib import closing
from io import StringIO
from typing import Any

import orjson
import psycopg
from rich.console import Console

from commands.verify import verify_all
from tests.traffic.patience import EVENTUALLY_SECONDS, eventually
from tests.traffic.traffic import Traffic

PAGE = 200

_LAST = """
    SELECT DISTINCT ON (topic, lane) topic, lane, xid::text::bigint, id FROM ledger.outbox
    ORDER BY topic, lane, xid DESC, id DESC
"""
_PUBLISHED = "SELECT topic, lane, xid::text::bigint, id FROM ledger.relay_positions"
# The slowest consumer of each stream.
_CONFIRMED = """
    SELECT DISTINCT ON (topic, lane) topic, lane, xid::text::bigint, id FROM ledger.consumer_positions
    WHERE shard = {shard} ORDER BY topic, lane, xid, id
"""
_SETTLEMENT = "SELECT sum(balance)::bigint FROM ledger.accounts WHERE kind = 'bank_settlement' AND currency = 'USD'"
_STREAMS_READ = "SELECT DISTINCT shard FROM ledger.consumer_positions"


async def check_everything(traffic: Traffic, *, replays: int = 12) -> None:
    """Raises AssertionError: a balance, a bank's book, an event, an invariant or an answer is not what it must be."""
    await traffic.until_final()
    await check_wallets(traffic)
    await check_bank(traffic)
    await check_answers(traffic, replays)
    await check_events(traffic)
    await check_invariants(traffic)


async def check_invariants(traffic: Traffic) -> None:
    """What `sagapay verify` does, the bank's statement included, with nothing in flight that would excuse anything."""
    said = StringIO()
    clean = await verify_all(traffic.platform.settings, Console(file=said, width=200))
    assert clean, said.getvalue()
    assert "in flight" not in said.getvalue(), said.getvalue()


async def check_with_the_command(traffic: Traffic) -> None:
    """`sagapay verify` itself, as an operator types it, exits with 0."""
    result = await asyncio.to_thread(traffic.platform.run, "verify", seconds=EVENTUALLY_SECONDS)
    assert result.returncode == 0, result.stdout


async def check_wallets(traffic: Traffic) -> None:
    """Every wallet has what the dictionary says, and nothing is held."""
    wanted = traffic.model.in_wallets()
    for wallet_id, money in wanted.items():
        balance = orjson.loads(await traffic.app.get(f"/v1/wallets/{wallet_id}"))["balance"]
        assert balance == {"posted": money, "held": 0, "available": money}, f"{wallet_id} should have {money}"


async def check_bank(traffic: Traffic) -> None:
    """Every account at the bank has what the dictionary says, and the bank's books equal ours."""
    for account_id, money in traffic.model.at_bank().items():
        account = await traffic.bank.account(account_id)
        assert (account.balance, account.held) == (money, 0), f"{account_id} should have {money}: {account}"
    books = await traffic.bank.books()
    (totals,) = books.totals
    assert books.balanced
    assert totals.duplicated == 0
    ours = [_ask(traffic, _SETTLEMENT, shard)[0][0] for shard in _shards(traffic)]
    assert totals.settlement_balance == sum(int(str(balance or 0)) for balance in ours)


async def check_answers(traffic: Traffic, replays: int) -> None:
    """Some keys are asked again: the same transaction, ended the same way (the model compares)."""
    orders = list(traffic.model.orders.values())
    for order in random.Random(len(orders)).sample(orders, min(replays, len(orders))):
        assert (await traffic.ask(order)).end is not None


async def check_events(traffic: Traffic) -> None:
    """Every event is published and confirmed, and every wallet's history says how all of its payments ended."""
    assert len(_ask(traffic, _STREAMS_READ)) == len(_shards(traffic))

    async def told() -> bool:
        return not any(_untold(traffic, shard) for shard in _shards(traffic))

    await eventually("every event is published and confirmed", told)
    for wallet_id in traffic.model.in_wallets():
        assert await _history(traffic, wallet_id) == traffic.model.history(wallet_id), wallet_id


async def _history(traffic: Traffic, wallet_id: str) -> dict[str, str]:
    found: dict[str, str] = {}
    cursor = ""
    while True:
        page = orjson.loads(await traffic.app.get(f"/v1/wallets/{wallet_id}/transactions?limit={PAGE}{cursor}"))
        for item in page["transactions"]:
            assert item["transaction_id"] not in found
            found[item["transaction_id"]] = item.get("failure_code") or item["status"]
        if not (following := page.get("next_cursor")):
            return found
        cursor = f"&cursor={following}"


def _shards(traffic: Traffic) -> range:
    return range(len(traffic.platform.settings.shard_urls))


def _untold(traffic: Traffic, shard: int) -> list[tuple[object, ...]]:
    """Streams of a shard in which something waits for the relay, or for a consumer that reads their topic."""
    published = {row[:2]: row[2:] for row in _ask(traffic, _PUBLISHED, shard)}
    confirmed = _ask(traffic, _CONFIRMED.format(shard=shard))
    last = {row[:2]: row[2:] for row in _ask(traffic, _LAST, shard)}
    behind = [stream for stream, place in last.items() if stream not in published or published[stream] < place]
    return behind + [row[:2] for row in confirmed if row[:2] in last and row[2:] < last[row[:2]]]


def _ask(traffic: Traffic, query: str, shard: int = 0) -> list[tuple[Any, ...]]:
    with closing(psycopg.connect(traffic.platform.settings.shard_urls[shard])) as connection:
        return connection.execute(query.encode()).fetchall()
