"""`sagapay shards`: what each of the ledger's databases has, how far its events are told, and what shards owe."""

from typing import Any, Final

from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from domain.errors import LedgerUnavailable
from domain.money import format_minor
from infra.database import reading
from infra.settings import Settings
from ledger.invariants.between import Dues, read_dues
from ledger.shards import Shard, Shards

# A relay that has published nothing of a stream yet has no position there.
_FIGURES: Final = text("""
    SELECT pg_size_pretty(pg_database_size(current_database())) AS size,
           (SELECT count(*) FROM ledger.accounts WHERE kind = 'wallet') AS wallets,
           (SELECT count(*) FROM ledger.accounts) AS accounts,
           (SELECT count(*) FROM ledger.transactions WHERE status IN ('pending', 'processing')) AS open,
           w.events AS waiting, coalesce(extract(epoch FROM now() - w.oldest), 0)::float8 AS lag_seconds
    FROM (
        SELECT count(*) AS events, min(o.created_at) AS oldest
        FROM ledger.outbox o LEFT JOIN ledger.relay_positions r USING (topic, lane)
        WHERE r.topic IS NULL OR (o.xid, o.id) > (r.xid, r.id)
    ) w
""")


async def show_shards(settings: Settings, console: Console) -> bool:
    """Two tables; True if every shard answers."""
    shards = Shards(settings)
    try:
        figures = {shard.number: await _figures(shard) for shard in shards.all}
        console.print(_shards(shards, figures))
        whole = all(row is not None for row in figures.values())
        if whole:
            console.print(_dues(await read_dues([shard.engine for shard in shards.all])))
        else:
            console.print("What shards owe each other is known when all of them answer.")
    finally:
        await shards.aclose()
    return whole


async def _figures(shard: Shard) -> Any | None:  # noqa: ANN401  -- a row of _FIGURES
    try:
        async with reading(shard.engine) as connection:
            return (await connection.execute(_FIGURES)).one()
    except LedgerUnavailable:
        return None


def _shards(shards: Shards, figures: dict[int, Any]) -> Table:
    table = Table(title="Shards", title_justify="left")
    for heading in ("shard", "buckets", "database", "size", "wallets", "accounts", "open", "events waiting", "lag"):
        table.add_column(heading, justify="left" if heading == "database" else "right")
    for shard in shards.all:
        row = figures[shard.number]
        name = str(shard.engine.url.database)
        buckets = f"{shard.buckets.start}-{shard.buckets.stop - 1}"
        if row is None:
            table.add_row(str(shard.number), buckets, name, "[red]does not answer[/]")
            continue
        cells = (row.size, row.wallets, row.accounts, row.open, row.waiting, f"{row.lag_seconds:.1f} s")
        table.add_row(str(shard.number), buckets, name, *map(str, cells))
    return table


def _dues(dues: Dues) -> Table:
    table = Table("from", "to", "owed", "claimed", "on its way", title="Due between shards", title_justify="left")
    for due in sorted(dues.owed.keys() | dues.claimed.keys()):
        owed, claimed = dues.owed[due], dues.claimed[due]
        amounts = (format_minor(amount, due.currency) for amount in (owed, claimed, owed - claimed))
        table.add_row(str(due.debtor), str(due.creditor), *amounts)
    return table
