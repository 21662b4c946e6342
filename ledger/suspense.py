"""What a bank has moved and is no payment's yet: on a suspense account, until it is put right, matched or written off.

An item is posted and cleared on the accounts that its place gives it, all locked before anything is read: two who do
the same at once come one after the other, and the second finds what the first has done.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from domain.clock import Clock
from domain.contracts.suspense import Clearance, Clearing, NewSuspenseItem, SuspenseItem, suspense_bucket
from domain.errors import NotFound
from domain.ids import TransactionId
from domain.transactions import Step, StepDecision
from infra.database import Pipeline, pipelined
from ledger import posting, statements
from ledger.accounts import SystemAccount, SystemAccountsMissing, system_account
from ledger.deciding import Book
from ledger.records import PostingRecord, Writing, array
from ledger.rules import ROLES, RULES, Role
from ledger.shards import Shard, Shards, shard_of

_ITEM: Final = """
    SELECT i.*, e.detail ->> 'outcome' AS cleared_as
    FROM ledger.suspense_items i
    LEFT JOIN ledger.transaction_events e
           ON e.transaction_id = i.item_id AND e.type = 'step.posted'
          AND e.step IN ('clear_outgoing', 'clear_incoming', 'write_off_outgoing', 'write_off_incoming')
"""
_BY_REFERENCE: Final = f"{_ITEM} WHERE i.bank = %(bank)s AND i.return_reference = %(return_reference)s"
_BY_ID: Final = f"{_ITEM} WHERE i.item_id = %(item_id)s::uuid"
_ADD: Final = """
    INSERT INTO ledger.suspense_items
        (item_id, bank, return_reference, reference, code, moved, currency, reason, detail, returned_at)
    VALUES (%(item_id)s::uuid, %(bank)s, %(return_reference)s, %(reference)s, %(code)s, %(moved)s::bigint, %(currency)s,
            %(reason)s, %(detail)s, %(returned_at)s)
    ON CONFLICT (bank, return_reference) DO NOTHING RETURNING item_id
"""

_SUSPENDS: Final = {False: Step.SUSPEND_OUTGOING, True: Step.SUSPEND_INCOMING}
_CLEARS: Final = {False: Step.CLEAR_OUTGOING, True: Step.CLEAR_INCOMING}
_WRITES_OFF: Final = {False: Step.WRITE_OFF_OUTGOING, True: Step.WRITE_OFF_INCOMING}

Wanted = dict[Role, SystemAccount]


class Suspense:
    """Suspense items of all shards."""

    def __init__(self, shards: Shards, clock: Clock) -> None:
        self._shards = shards
        self._clock = clock

    async def suspend(self, item: NewSuspenseItem) -> SuspenseItem:
        """Book a line of a bank's statement, once; repeated, what was recorded. Raises LedgerUnavailable."""
        proposed = TransactionId.new(item.bucket)
        shard = self._shards.of(proposed)
        wanted = _wanted(_SUSPENDS[item.moved > 0], item, proposed)
        while True:
            try:
                return await self._suspend(shard, item, proposed, wanted)
            except SystemAccountsMissing as missing:
                await posting.open_accounts(shard.engine, missing.accounts)

    async def clear(self, clearing: Clearing) -> SuspenseItem:
        """Take an item off the suspense account, once; what was done first stays, and is answered. Raises NotFound."""
        shard = self._shards.of(clearing.item_id)
        while True:
            try:
                return await self._clear(shard, clearing)
            except SystemAccountsMissing as missing:
                await posting.open_accounts(shard.engine, missing.accounts)

    async def find(self, bank: str, return_reference: str) -> SuspenseItem | None:
        """The item of a bank's return, if it ever was one."""
        shard = self._shards.all[shard_of(suspense_bucket(bank, return_reference), len(self._shards.all))]
        wanted = {"bank": bank, "return_reference": return_reference}
        async with pipelined(shard.engine) as pipeline:
            (rows,) = await pipeline.run((_BY_REFERENCE, wanted))
        return _item_of(rows[0]) if rows else None

    async def _clear(self, shard: Shard, clearing: Clearing) -> SuspenseItem:
        steps = _WRITES_OFF if clearing.outcome is Clearance.WRITTEN_OFF else _CLEARS
        async with pipelined(shard.engine) as pipeline:
            (found,) = await pipeline.run((_BY_ID, {"item_id": str(clearing.item_id.uuid)}))
            if not found:
                raise NotFound(f"There is no suspense item {clearing.item_id}.")
            step = steps[found[0].moved > 0]
            wanted = _wanted(step, _item_of(found[0]), clearing.item_id)
            book, (row,) = await _lock(pipeline, wanted, (_BY_ID, {"item_id": str(clearing.item_id.uuid)}))
            item = _item_of(row)
            if item.cleared_as is not None:
                return item
            said = {"outcome": clearing.outcome, "by": clearing.by, "reason": clearing.reason}
            proof = {"evidence": clearing.evidence, "approved_by": clearing.approved_by}
            said |= {name: value for name, value in proof.items() if value}
            await pipeline.run_and_commit(self._posting(item, step, wanted, book, said))
        return replace(item, cleared_as=clearing.outcome)

    async def _suspend(
        self, shard: Shard, item: NewSuspenseItem, proposed: TransactionId, wanted: Wanted
    ) -> SuspenseItem:
        async with pipelined(shard.engine) as pipeline:
            book, added = await _lock(pipeline, wanted, (_ADD, _values(item, proposed)))
            by_reference = {"bank": item.bank, "return_reference": item.return_reference}
            ((row,),) = await pipeline.run((_BY_REFERENCE, by_reference))
            recorded = _item_of(row)
            if added:
                said = {"reason": item.reason, "code": item.code, "reference": item.return_reference}
                step = _SUSPENDS[item.moved > 0]
                await pipeline.run_and_commit(self._posting(recorded, step, wanted, book, said))
            return recorded

    def _posting(
        self, item: SuspenseItem, step: Step, wanted: Wanted, book: Book, said: Mapping[str, object]
    ) -> tuple[str, dict[str, object]]:
        """The statement that writes a step of an item."""
        accounts, rule, writing = book.accounts(wanted), RULES[step], Writing()
        assert rule.debit is not None, f"{step} moves money"
        assert rule.credit is not None, f"{step} moves money"
        record = PostingRecord(writing, item.item_id, step, book.moment(accounts.values()), self._clock.now())
        record.post(accounts[rule.debit], accounts[rule.credit], abs(item.moved))
        for account in accounts.values():
            record.save(account)
        record.add_step(StepDecision.POSTED, dict(said))
        return writing.statement()


async def _lock(
    pipeline: Pipeline, wanted: Wanted, then: tuple[str, dict[str, object]]
) -> tuple[Book, Collection[Any]]:
    """The accounts, locked, and the rows of a statement that comes after. Raises SystemAccountsMissing."""
    ids = sorted(account.hex for account in wanted.values())
    locked, rows, ((now,),) = await pipeline.run(
        (statements.LOCK_ACCOUNTS, {"account_ids": array(ids)}), then, (statements.DATABASE_TIME, {})
    )
    book = Book([posting.account_in(row) for row in locked], now)
    book.demand_system_accounts([wanted])
    return book, rows


def _wanted(step: Step, item: NewSuspenseItem, item_id: TransactionId) -> Wanted:
    return {role: system_account(role, item.bank, item.currency, item_id) for role in ROLES[step]}


def _values(item: NewSuspenseItem, proposed: TransactionId) -> dict[str, object]:
    return {
        "item_id": str(proposed.uuid),
        "bank": item.bank,
        "return_reference": item.return_reference,
        "reference": item.reference,
        "code": item.code,
        "moved": item.moved,
        "currency": item.currency,
        "reason": item.reason,
        "detail": item.detail,
        "returned_at": item.returned_at,
    }


def _item_of(row: Any) -> SuspenseItem:  # noqa: ANN401  -- a row of the driver's
    return SuspenseItem(
        item_id=TransactionId.of(UUID(str(row.item_id))),
        bank=row.bank,
        return_reference=row.return_reference,
        reference=row.reference,
        code=row.code,
        moved=row.moved,
        currency=row.currency,
        reason=row.reason,
        detail=row.detail,
        returned_at=row.returned_at,
        since=row.created_at,
        cleared_as=Clearance(row.cleared_as) if row.cleared_as else None,
    )
