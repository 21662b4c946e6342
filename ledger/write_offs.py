"""Debts that are written off: asked for by one operator, posted in the commit of another's approval.

At most what is owed at that moment, which the lock on the wallet decides: what a credit has paid meanwhile is not
written off.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.clock import Clock
from domain.contracts.write_offs import NewWriteOff, WriteOff, WriteOffState
from domain.errors import CannotApprove, CannotWriteOff, IdempotencyKeyReused, NotFound
from domain.ids import TransactionId, WalletId
from domain.money import Money
from domain.transactions import Step, StepDecision
from infra.database import Pipeline, pipelined, reading, transaction
from ledger import posting, statements
from ledger.accounts import Account, SystemAccount, SystemAccountsMissing, losses_of, receivable_of
from ledger.deciding import Book
from ledger.records import PostingRecord, Writing, array
from ledger.rules import Role
from ledger.shards import Shard, Shards

_FOUND: Final = """
    SELECT w.write_off_id, w.wallet_id, w.amount, w.currency, w.asked_by, w.reason, w.evidence, w.created_at,
           encode(w.fingerprint, 'hex') AS fingerprint, m.mark, m.marked_by, m.note, m.written_off
    FROM ledger.write_offs w LEFT JOIN ledger.write_off_marks m ON m.write_off_id = w.write_off_id
"""
_BY_KEY: Final = text(f"{_FOUND} WHERE w.wallet_id = :wallet_id AND w.key_digest = decode(:key_digest, 'hex')")
_BY_ID: Final = text(f"{_FOUND} WHERE w.write_off_id = :write_off_id")
_BY_ID_IN_A_PIPELINE: Final = f"{_FOUND} WHERE w.write_off_id = %(write_off_id)s::uuid"
_PAGE: Final = text(f"""{_FOUND}
    WHERE (CAST(:wallet_id AS uuid) IS NULL OR w.wallet_id = :wallet_id) AND (m.mark IS NULL OR NOT :waiting)
      AND w.write_off_id > :after
    ORDER BY w.write_off_id LIMIT :limit
""")
_OWED: Final = text("SELECT owed, currency FROM ledger.accounts WHERE account_id = :wallet_id AND kind = 'wallet'")
_ADD: Final = text("""
    INSERT INTO ledger.write_offs
        (write_off_id, wallet_id, amount, currency, asked_by, reason, evidence, key_digest, fingerprint, effective_at)
    VALUES (:write_off_id, :wallet_id, :amount, :currency, :by, :reason, :evidence, decode(:key_digest, 'hex'),
            decode(:fingerprint, 'hex'), :effective_at)
    ON CONFLICT (wallet_id, key_digest) DO NOTHING
""")
_APPROVE: Final = """
    INSERT INTO ledger.write_off_marks (write_off_id, mark, marked_by, note, written_off)
    VALUES (%(write_off_id)s::uuid, 'approved', %(by)s, %(note)s, %(written_off)s::bigint)
"""
_WITHDRAW: Final = text("""
    INSERT INTO ledger.write_off_marks (write_off_id, mark, marked_by, note)
    VALUES (:write_off_id, 'withdrawn', :by, :note) ON CONFLICT (write_off_id) DO NOTHING
""")
_BEFORE_ALL: Final = UUID(int=0)


class WriteOffs:
    """Write-offs of all shards; each is where its wallet is."""

    def __init__(self, shards: Shards, clock: Clock) -> None:
        self._shards = shards
        self._clock = clock

    async def ask(self, asked: NewWriteOff) -> WriteOff:
        """Record what an operator asks for; nothing moves yet. Repeated, what was recorded.

        Raises NotFound, CannotWriteOff where less is owed, and IdempotencyKeyReused.
        """
        async with transaction(self._shards.of(asked.wallet_id).engine) as connection:
            key = {"wallet_id": asked.wallet_id.uuid, "key_digest": asked.key.key_digest}
            known = (await connection.execute(_BY_KEY, key)).first()
            if known is None:
                await self._add(connection, asked, key)
                added = (await connection.execute(_BY_KEY, key)).one()
                return _write_off_of(_demand_same(added, asked))
            return replace(_write_off_of(_demand_same(known, asked)), replayed=True)

    async def approve(self, write_off_id: TransactionId, by: str, reason: str) -> WriteOff:
        """Another operator agrees: in this commit the losses bear it. Repeated by the same one, what was done.

        Raises NotFound and CannotApprove.
        """
        shard = self._shards.of(write_off_id)
        asked = await self._found(shard, write_off_id)
        while True:
            try:
                return await self._approve(shard, asked, by, reason)
            except SystemAccountsMissing as missing:
                await posting.open_accounts(shard.engine, missing.accounts)

    async def withdraw(self, write_off_id: TransactionId, by: str, reason: str) -> WriteOff:
        """Nobody is to approve it any more. Raises NotFound, and CannotApprove for one that is approved."""
        shard = self._shards.of(write_off_id)
        await self._found(shard, write_off_id)
        async with transaction(shard.engine) as connection:
            mark = {"write_off_id": write_off_id.uuid, "by": by, "note": reason}
            await connection.execute(_WITHDRAW, mark)
        ended = await self._found(shard, write_off_id)
        if ended.state is WriteOffState.APPROVED:
            raise CannotApprove("It is approved already.")
        return ended

    async def page(
        self, wallet_id: WalletId | None, *, waiting: bool, after: TransactionId | None, limit: int
    ) -> Sequence[WriteOff]:
        """Those behind `after` by id, oldest first: of one wallet or all, all or those that wait for approval."""
        wanted = {
            "wallet_id": wallet_id.uuid if wallet_id else None,
            "waiting": waiting,
            "after": after.uuid if after else _BEFORE_ALL,
            "limit": limit,
        }
        shards = self._shards.all if wallet_id is None else [self._shards.of(wallet_id)]
        found: list[WriteOff] = []
        for shard in shards:
            async with reading(shard.engine) as connection:
                found += [_write_off_of(row) for row in await connection.execute(_PAGE, wanted)]
        return sorted(found, key=lambda each: each.write_off_id)[:limit]

    async def _add(self, connection: AsyncConnection, asked: NewWriteOff, key: dict[str, Any]) -> None:
        wallet = (await connection.execute(_OWED, {"wallet_id": asked.wallet_id.uuid})).first()
        if wallet is None:
            raise NotFound(f"There is no wallet {asked.wallet_id}.")
        amount = wallet.owed if asked.minor_units is None else asked.minor_units
        if not 0 < amount <= wallet.owed:
            raise CannotWriteOff(f"The wallet owes {Money(wallet.owed, wallet.currency)}." if wallet.owed else None)
        await connection.execute(
            _ADD,
            key
            | {
                "write_off_id": TransactionId.new(asked.wallet_id.bucket).uuid,
                "amount": amount,
                "currency": wallet.currency,
                "by": asked.by,
                "reason": asked.reason,
                "evidence": asked.evidence,
                "fingerprint": asked.key.fingerprint,
                "effective_at": self._clock.now(),
            },
        )

    async def _found(self, shard: Shard, write_off_id: TransactionId) -> WriteOff:
        async with reading(shard.engine) as connection:
            row = (await connection.execute(_BY_ID, {"write_off_id": write_off_id.uuid})).first()
        if row is None:
            raise NotFound(f"There is no write-off {write_off_id}.")
        return _write_off_of(row)

    async def _approve(self, shard: Shard, asked: WriteOff, by: str, reason: str) -> WriteOff:
        currency = asked.amount.currency
        ours: dict[Role, SystemAccount] = {
            Role.RECEIVABLE: receivable_of(asked.wallet_id, currency),
            Role.LOSSES: losses_of(asked.wallet_id, currency),
        }
        key: dict[str, object] = {"write_off_id": str(asked.write_off_id.uuid)}
        async with pipelined(shard.engine) as pipeline:
            book, current = await self._lock(pipeline, asked.wallet_id, ours, key)
            if current.state is WriteOffState.APPROVED and current.ended_by == by:
                return current
            accounts = book.accounts(ours | {Role.SOURCE: asked.wallet_id})
            approved = _approved(current, accounts[Role.SOURCE], by, reason)
            mark = {"by": by, "note": reason, "written_off": approved.written_off}
            await pipeline.run_and_commit((_APPROVE, key | mark), self._posting(approved, accounts, book))
            return approved

    async def _lock(
        self, pipeline: Pipeline, wallet_id: WalletId, ours: dict[Role, SystemAccount], key: dict[str, object]
    ) -> tuple[Book, WriteOff]:
        ids = sorted([wallet_id.hex, *(account.hex for account in ours.values())])
        locked, (row,), ((now,),) = await pipeline.run(
            (statements.LOCK_ACCOUNTS, {"account_ids": array(ids)}),
            (_BY_ID_IN_A_PIPELINE, key),
            (statements.DATABASE_TIME, {}),
        )
        book = Book([posting.account_in(account) for account in locked], now)
        book.demand_system_accounts([ours])
        return book, _write_off_of(row)

    def _posting(self, approved: WriteOff, accounts: dict[Role, Account], book: Book) -> tuple[str, dict[str, object]]:
        """The statement that writes off the debt."""
        assert approved.written_off is not None, "it is approved"
        writing, at = Writing(), book.moment(accounts.values())
        record = PostingRecord(writing, approved.write_off_id, Step.WRITE_OFF_DEBT, at, self._clock.now())
        record.post(accounts[Role.LOSSES], accounts[Role.RECEIVABLE], approved.written_off)
        accounts[Role.SOURCE].owed -= approved.written_off
        for account in accounts.values():
            record.save(account)
        said = {"by": approved.by, "reason": approved.reason, "evidence": approved.evidence}
        agreed = {"approved_by": approved.ended_by, "note": approved.note}
        record.add_step(StepDecision.POSTED, {"wallet": approved.wallet_id, **said, **agreed})
        return writing.statement()


def _approved(asked: WriteOff, wallet: Account, by: str, reason: str) -> WriteOff:
    """As it is after this approval. Raises CannotApprove."""
    if asked.state is not WriteOffState.ASKED:
        raise CannotApprove(f"It is {asked.state} already.")
    if asked.by == by:
        raise CannotApprove("Who asked for it cannot approve it: that takes another operator's key.")
    if not wallet.owed:
        raise CannotApprove("The wallet owes nothing any more; withdraw it.")
    amount = min(wallet.owed, asked.amount.minor_units)
    return replace(asked, state=WriteOffState.APPROVED, written_off=amount, ended_by=by, note=reason)


def _demand_same(row: Any, asked: NewWriteOff) -> Any:  # noqa: ANN401  -- a row of SQLAlchemy's
    if row.fingerprint != asked.key.fingerprint:
        raise IdempotencyKeyReused
    return row


def _write_off_of(row: Any) -> WriteOff:  # noqa: ANN401  -- a row of the driver's, or of SQLAlchemy's
    return WriteOff(
        write_off_id=TransactionId.of(row.write_off_id),
        wallet_id=WalletId.of(row.wallet_id),
        amount=Money(row.amount, row.currency),
        state=WriteOffState(row.mark) if row.mark else WriteOffState.ASKED,
        by=row.asked_by,
        reason=row.reason,
        evidence=row.evidence,
        created_at=row.created_at,
        written_off=row.written_off,
        ended_by=row.marked_by,
        note=row.note,
    )
