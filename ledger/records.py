"""What one step writes, gathered in memory, and the rows it becomes."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import orjson

from domain.contracts.payments import Failure
from domain.events import (
    ENTRIES_TOPIC,
    TRANSACTIONS_TOPIC,
    EntryPostedEvent,
    TransactionCompletedEvent,
    TransactionEvent,
    TransactionFailedEvent,
    TransactionProcessingEvent,
    lane_of,
)
from domain.ids import EntryId, EventId, PostingId, new_uuid
from domain.transactions import Step, StepDecision, TransactionStatus
from ledger.accounts import Account, Side
from ledger.service import Transaction

Row = dict[str, object]

_EVENT_OF_STATUS: dict[TransactionStatus, type[TransactionEvent]] = {
    TransactionStatus.PROCESSING: TransactionProcessingEvent,
    TransactionStatus.SUCCEEDED: TransactionCompletedEvent,
    TransactionStatus.FAILED: TransactionFailedEvent,
}


@dataclass(slots=True)
class StepRecord:
    """The rows of one step of `transaction`, all stamped with the same `at`, written in one commit."""

    transaction: Transaction
    step: Step
    at: datetime
    effective_at: datetime
    tables: dict[str, list[Row]] = field(default_factory=dict)

    def _add(self, table: str, row: Row) -> None:
        self.tables.setdefault(table, []).append(row)

    def _uuid(self) -> UUID:
        return new_uuid(self.transaction.transaction_id.bucket)

    def as_json(self) -> str:
        """The document that `statements.WRITE_STEP` takes."""
        return orjson.dumps(self.tables).decode()

    def outcome(self, status: TransactionStatus, decision: StepDecision, failure: Failure | None, *, new: bool) -> None:
        """The step's outcome and where it leaves the transaction, with its event."""
        txn = self.transaction
        refused = failure if decision is StepDecision.REFUSED else None
        self._add(
            "steps",
            {
                "transaction_id": txn.transaction_id.uuid,
                "step": self.step,
                "outcome": decision,
                "refusal_code": refused.code if refused else None,
                "refusal_detail": refused.detail if refused else None,
                "posting_id": self.tables["postings"][0]["posting_id"] if "postings" in self.tables else None,
                "created_at": self.at,
            },
        )
        self._timeline(f"step.{decision}", failure)
        if new:
            self._new_transaction(status, failure)
        elif status != txn.status:
            self._add("moved_transactions", self._standing(status, failure))
        if new or status != txn.status:
            self._transaction_event(status, failure)

    def _standing(self, status: TransactionStatus, failure: Failure | None) -> Row:
        failed = failure if status is TransactionStatus.FAILED else None
        return {
            "transaction_id": self.transaction.transaction_id.uuid,
            "status": status,
            "failure_code": failed.code if failed else None,
            "failure_detail": failed.detail if failed else None,
            "completed_at": self.at if status.final else None,
        }

    def _new_transaction(self, status: TransactionStatus, failure: Failure | None) -> None:
        txn = self.transaction
        self._add(
            "new_transactions",
            {
                "kind": txn.kind,
                "client_id": txn.client_id.uuid,
                "amount": txn.amount.minor_units,
                "currency": txn.amount.currency,
                "source_wallet_id": txn.source_wallet_id and txn.source_wallet_id.uuid,
                "destination_wallet_id": txn.destination_wallet_id and txn.destination_wallet_id.uuid,
                "bank_account_id": txn.bank_account_id and txn.bank_account_id.uuid,
                "bank": txn.bank,
                "memo": txn.memo,
                "workflow_id": txn.workflow_id,
                "effective_at": txn.effective_at,
                "created_at": self.at,
                **self._standing(status, failure),
            },
        )

    def post(self, lines: list[tuple[Account, Side]]) -> None:
        """One posting of the transaction's amount over `lines`; the accounts already have their new balance."""
        txn = self.transaction
        posting_id = self._uuid()
        self._add(
            "postings",
            {
                "posting_id": posting_id,
                "transaction_id": txn.transaction_id.uuid,
                "step": self.step,
                "effective_at": self.effective_at,
                "created_at": self.at,
            },
        )
        for account, side in lines:
            self._entry(posting_id, account, side)

    def _entry(self, posting_id: UUID, account: Account, side: Side) -> None:
        txn = self.transaction
        entry_id = new_uuid(txn.transaction_id.bucket)
        self._add(
            "entries",
            {
                "entry_id": entry_id,
                "posting_id": posting_id,
                "transaction_id": txn.transaction_id.uuid,
                "account_id": account.account_id,
                "type": side,
                "amount": txn.amount.minor_units,
                "currency": account.currency,
                "balance_after": account.balance,
                "version": account.version,
                "created_at": self.at,
            },
        )
        event = EntryPostedEvent(
            entry_id=EntryId.of(entry_id),
            posting_id=PostingId.of(posting_id),
            tx_id=txn.transaction_id,
            account_id=account.public_id,
            side=side,
            amount=txn.amount.minor_units,
            currency=account.currency,
            balance_after=account.balance,
            version=account.version,
            timestamp=self.at,
        )
        self._tell(ENTRIES_TOPIC, account.public_id, event.type, event.model_dump_json())

    def place_hold(self, account: Account) -> None:
        """Reserve the transaction's amount."""
        self._add(
            "new_holds",
            {
                "hold_id": self._uuid(),
                "transaction_id": self.transaction.transaction_id.uuid,
                "account_id": account.account_id,
                "amount": self.transaction.amount.minor_units,
                "created_at": self.at,
            },
        )

    def end_hold(self, *, captured: bool) -> None:
        """End the transaction's hold, once: the database refuses a second ending."""
        self._add(
            "ended_holds",
            {
                "transaction_id": self.transaction.transaction_id.uuid,
                "status": "captured" if captured else "released",
                "captured": self.transaction.amount.minor_units if captured else 0,
                "ended_at": self.at,
            },
        )

    def save(self, account: Account) -> None:
        """Store an account's new balance, held amount and version."""
        self._add(
            "accounts",
            {
                "account_id": account.account_id,
                "balance": account.balance,
                "held": account.held,
                "version": account.version,
                "updated_at": self.at,
            },
        )

    def _timeline(self, kind: str, failure: Failure | None) -> None:
        self._add(
            "timeline",
            {
                "transaction_id": self.transaction.transaction_id.uuid,
                "event_id": self._uuid(),
                "type": kind,
                "step": self.step,
                "detail": {"code": failure.code, "detail": failure.detail} if failure else {},
                "effective_at": self.effective_at,
                "created_at": self.at,
            },
        )

    def _transaction_event(self, status: TransactionStatus, failure: Failure | None) -> None:
        txn = self.transaction
        event = _EVENT_OF_STATUS[status](
            tx_id=txn.transaction_id,
            client_id=txn.client_id,
            kind=txn.kind,
            status=status,
            sender_id=txn.source_wallet_id,
            receiver_id=txn.destination_wallet_id,
            bank_account_id=txn.bank_account_id,
            amount=txn.amount.minor_units,
            currency=txn.amount.currency,
            memo=txn.memo,
            timestamp=self.at,
            failure=failure if status is TransactionStatus.FAILED else None,
        )
        name = f"transaction.{'completed' if status is TransactionStatus.SUCCEEDED else status}"
        self._tell(TRANSACTIONS_TOPIC, txn.transaction_id, name, event.model_dump_json())

    def _tell(self, topic: str, key: str, kind: str, data: str) -> None:
        self._add(
            "outbox",
            {
                "lane": lane_of(key),
                "event_id": EventId.new(self.transaction.transaction_id.bucket).uuid,
                "topic": topic,
                "key": key,
                "type": kind,
                "data": orjson.Fragment(data),
            },
        )
