"""Between shards: what one owes another, and each transfer that crossed, as both shards have recorded it.

Two databases have no moment in common. Who owes is read after who is owed, so that what is on its way is never missing
on the side that must have it; how much may be on its way is read with it.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.ids import BUCKETS, TransactionId
from domain.transactions import StepDecision, TransactionStatus
from infra.database import reading
from ledger.invariants.invariant import VIOLATIONS_SHOWN, Finding, Violation
from ledger.invariants.snapshot import Found
from ledger.shards import shard_of

PAGE: Final = 10_000
"""Transfers compared at once."""

_NOW: Final = "SELECT clock_timestamp() AS now"
_DUE: Final = """
    SELECT split_part(code, ':', 2)::int AS other, currency, sum(balance)::bigint AS balance
    FROM ledger.accounts WHERE kind = 'due_from' GROUP BY 1, 2
"""
# With what may be on its way: sent and not yet at its end, or come to its end since the other side was read.
_OWED: Final = """
    SELECT other, currency, sum(balance)::bigint AS balance, sum(moving)::bigint AS moving,
           count(*) FILTER (WHERE moving > 0) AS transfers
    FROM (
        SELECT split_part(code, ':', 2)::int AS other, currency, balance, 0 AS moving FROM ledger.accounts
        WHERE kind = 'due_to'
        UNION ALL
        SELECT ('x' || right(t.destination_wallet_id::text, 3))::bit(12)::int * shard.count / 4096, t.currency, 0,
               t.amount
        FROM ledger.transactions t JOIN ledger.transaction_steps s USING (transaction_id) CROSS JOIN ledger.shard
        WHERE s.step = 'send_transfer' AND s.outcome = 'posted'
          AND (t.completed_at IS NULL OR (t.status = 'succeeded' AND t.completed_at > :since))
    ) parts GROUP BY other, currency
"""
_SENT: Final = """
    SELECT t.transaction_id, t.status, t.amount, t.currency, t.destination_wallet_id AS wallet_id
    FROM ledger.transactions t JOIN ledger.transaction_steps s USING (transaction_id)
    WHERE s.step = 'send_transfer' AND s.outcome = 'posted' AND
"""
_RECEIVED: Final = """
    SELECT s.transaction_id, s.outcome, e.amount, e.currency, e.account_id AS wallet_id
    FROM ledger.transaction_steps s
    LEFT JOIN (
        SELECT e.* FROM ledger.ledger_entries e JOIN ledger.accounts a USING (account_id)
        WHERE e.type = 'CREDIT' AND a.kind = 'wallet'
    ) e ON e.posting_id = s.posting_id
    WHERE s.step = 'receive_transfer' AND
"""
_NEXT: Final = "s.transaction_id > :after ORDER BY s.transaction_id LIMIT :limit"
_THESE: Final = "s.transaction_id = ANY(:ids)"
_BEFORE_ALL: Final = UUID(int=0)


class Due(NamedTuple):
    """Between which shards, in which currency."""

    debtor: int
    creditor: int
    currency: str

    def __str__(self) -> str:
        return f"shard {self.debtor} to {self.creditor}, {self.currency}"


@dataclass(frozen=True, slots=True)
class Dues:
    """What shards owe each other, in minor units. `moving` is the most that may be on its way, in `transfers`."""

    owed: Counter[Due]
    claimed: Counter[Due]
    moving: Counter[Due]
    transfers: int


async def read_dues(engines: Sequence[AsyncEngine]) -> Dues:
    """What all shards say, the claims before the debts. Raises LedgerUnavailable."""
    since = [(await _rows(engine, _NOW))[0].now for engine in engines]
    claimed: Counter[Due] = Counter()
    for number, engine in enumerate(engines):
        for row in await _rows(engine, _DUE):
            claimed[Due(row.other, number, row.currency)] = row.balance
    owed: Counter[Due] = Counter()
    moving: Counter[Due] = Counter()
    transfers = 0
    for number, engine in enumerate(engines):
        for row in await _rows(engine, _OWED, since=since[number]):
            due = Due(number, row.other, row.currency)
            owed[due], moving[due] = row.balance, row.moving
            transfers += row.transfers
    return Dues(owed, claimed, moving, transfers)


async def check_dues(engines: Sequence[AsyncEngine]) -> Finding:
    """Invariant 7: never less owed than claimed, and more only by what is on its way. Raises LedgerUnavailable."""
    dues = await read_dues(engines)
    wrong = [
        Violation(str(due), f"owes {dues.owed[due]}, the other claims {dues.claimed[due]}, {dues.moving[due]} may move")
        for due in sorted(dues.owed.keys() | dues.claimed.keys())
        if not 0 <= dues.owed[due] - dues.claimed[due] <= dues.moving[due]
    ]
    return Finding(
        number=7,
        name="between shards",
        sentence="What shard A owes B is what B says is due from A, but for transfers on their way; never less.",
        checked=len(dues.owed.keys() | dues.claimed.keys()),
        what="dues",
        broken=len(wrong),
        violations=tuple(wrong[:VIOLATIONS_SHOWN]),
        note=f"{dues.transfers} transfers may be on their way" if dues.transfers else "",
    )


async def check_transfers(engines: Sequence[AsyncEngine]) -> Finding:
    """Each transfer that crossed shards is at one end alone, and the same on both. Raises LedgerUnavailable."""
    wrong: list[Violation] = []
    checked = 0
    for engine in engines:
        async for received in _pages(engine, _RECEIVED):
            wrong += await _check_received(engines, received)
        async for sent in _pages(engine, _SENT):
            wrong += await _check_ended(engines, [row for row in sent if TransactionStatus(row.status).final])
            checked += len(sent)
    return Finding(
        number=7,
        name="transfers between shards",
        sentence="What was sent to another shard is received there, or refused there and given back: never both.",
        checked=checked,
        what="transfers",
        broken=len(wrong),
        violations=tuple(wrong[:VIOLATIONS_SHOWN]),
    )


async def _check_received(engines: Sequence[AsyncEngine], received: Sequence[Found]) -> list[Violation]:
    """Whatever a shard has received was sent so, and not given back. The sender's shard is asked after this one."""
    sent = await _those(engines, _SENT, {row.transaction_id: row.transaction_id for row in received})
    wrong = []
    for row in received:
        its = sent.get(row.transaction_id)
        if its is None:
            wrong.append(_violation(row, f"is {row.outcome} by its receiver's shard, but was not sent"))
        elif row.outcome == StepDecision.POSTED and its.status == TransactionStatus.FAILED:
            wrong.append(_violation(row, "was received and given back"))
        elif row.outcome == StepDecision.POSTED and _what(row) != _what(its):
            wrong.append(_violation(row, f"was sent as {_what(its)} and received as {_what(row)}"))
    return wrong


async def _check_ended(engines: Sequence[AsyncEngine], ended: Sequence[Found]) -> list[Violation]:
    """Whatever has come to its end ended as its receiver's shard says. That is asked after the sender's."""
    received = await _those(engines, _RECEIVED, {row.transaction_id: row.wallet_id for row in ended})
    wrong = []
    for row in ended:
        its = received.get(row.transaction_id)
        wanted = StepDecision.REFUSED if row.status == TransactionStatus.FAILED else StepDecision.POSTED
        said = "nothing" if its is None else its.outcome
        if said != wanted:
            wrong.append(_violation(row, f"has {row.status}, but its receiver's shard has recorded {said}"))
    return wrong


def _what(row: Found) -> tuple[object, ...]:
    return (row.amount, row.currency, str(row.wallet_id))


async def _pages(engine: AsyncEngine, query: str) -> AsyncIterator[Sequence[Found]]:
    after = _BEFORE_ALL
    while page := await _rows(engine, query + _NEXT, after=after, limit=PAGE):
        yield page
        after = UUID(str(page[-1].transaction_id))


async def _those(engines: Sequence[AsyncEngine], query: str, homes: Mapping[object, object]) -> dict[object, Found]:
    """Rows by transaction; `homes` says of each transaction an id that lives on the shard to ask."""
    wanted: defaultdict[int, list[object]] = defaultdict(list)
    for transaction_id, home in homes.items():
        wanted[shard_of(UUID(str(home)).int % BUCKETS, len(engines))].append(transaction_id)
    return {
        row.transaction_id: row
        for number, ids in wanted.items()
        for row in await _rows(engines[number], query + _THESE, ids=ids)
    }


async def _rows(engine: AsyncEngine, query: str, **values: object) -> Sequence[Found]:
    async with reading(engine) as connection:
        return (await connection.execute(text(query), values)).all()


def _violation(row: Found, detail: str) -> Violation:
    return Violation(str(TransactionId.of(UUID(str(row.transaction_id)))), detail)
