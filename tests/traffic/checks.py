"""What must hold once every payment has ended, whatever was killed meanwhile."""

import asyncio
import random
from contextlib import closing
from io import StringIO

import orjson
import psycopg
from rich.console import Console

from commands.verify import verify_all
from tests.traffic.patience import EVENTUALLY_SECONDS, eventually
from tests.traffic.traffic import Traffic

PAGE = 200

# Streams in which something waits for the relay or for a consumer that reads their topic.
_UNCONFIRMED = """
    SELECT o.topic, o.lane, count(*) FILTER (WHERE r.topic IS NULL OR (o.xid, o.id) > (r.xid, r.id)) AS unpublished,
           count(*) FILTER (WHERE (o.xid, o.id) > (c.xid, c.id)) AS unconfirmed
    FROM ledger.outbox o
    LEFT JOIN ledger.relay_positions r USING (topic, lane)
    LEFT JOIN ledger.consumer_positions c USING (topic, lane)
    GROUP BY o.topic, o.lane
    HAVING bool_or(r.topic IS NULL OR (o.xid, o.id) > (r.xid, r.id)) OR bool_or((o.xid, o.id) > (c.xid, c.id))
"""
_SETTLEMENT = "SELECT sum(balance)::bigint FROM ledger.accounts WHERE kind = 'bank_settlement' AND currency = 'USD'"
_STREAMS_READ = "SELECT topic, lane FROM ledger.consumer_positions"


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
    assert totals.settlement_balance == _ask(traffic, _SETTLEMENT)[0][0]


async def check_answers(traffic: Traffic, replays: int) -> None:
    """Some keys are asked again: the same transaction, ended the same way (the model compares)."""
    orders = list(traffic.model.orders.values())
    for order in random.Random(len(orders)).sample(orders, min(replays, len(orders))):
        assert (await traffic.ask(order)).end is not None


async def check_events(traffic: Traffic) -> None:
    """Every event is published and confirmed, and every wallet's history says how all of its payments ended."""
    assert _ask(traffic, _STREAMS_READ)

    async def told() -> bool:
        return not _ask(traffic, _UNCONFIRMED)

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


def _ask(traffic: Traffic, query: str) -> list[tuple[object, ...]]:
    with closing(psycopg.connect(traffic.platform.settings.shard_urls[0])) as connection:
        return connection.execute(query).fetchall()
