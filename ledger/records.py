"""What a group of steps writes, gathered in memory, and the rows it becomes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import orjson

from domain.availability import Deferral
from domain.contracts.payments import Failure, ReturnNotice
from domain.events import ENTRIES_TOPIC, HOLDS_TOPIC, TRANSACTIONS_TOPIC, lane_of
from domain.holds import HoldStatus
from domain.ids import EntryId, HoldId, IdSeries, PostingId, TransactionId
from domain.rails import Rail
from domain.transactions import Step, StepDecision, TransactionStatus
from ledger.accounts import Account, Side
from ledger.service import Hold, Transaction
from ledger.statements import PARTS, write_group

Row = dict[str, object]

_EVENT_OF: Final[Mapping[TransactionStatus, str]] = {
    TransactionStatus.PROCESSING: "transaction.processing",
    TransactionStatus.SUCCEEDED: "transaction.completed",
    TransactionStatus.FAILED: "transaction.failed",
    TransactionStatus.RETURNED: "transaction.returned",
}


class Writing:
    """The rows of one commit: those of all steps of a group, and each account as the last of them left it."""

    def __init__(self) -> None:
        self.new_id = IdSeries().next
        """(bucket) → the digits of a new id"""
        self.rows: dict[str, list[Row]] = {"steps": []}
        self.events: list[tuple[str, str, str, str, str, str]] = []
        """(topic, key, type, event id, data, trace)"""
        self._accounts: dict[str, Account] = {}
        self._holds: dict[HoldId, Hold] = {}

    def __bool__(self) -> bool:
        return any(self.rows.values()) or bool(self._holds)

    def add(self, table: str, row: Row) -> None:
        """One more row."""
        self.rows.setdefault(table, []).append(row)

    def save(self, account: Account, at: datetime) -> None:
        """Store what became of an account."""
        account.updated_at = at
        self._accounts[account.hex] = account

    def place(self, hold: Hold, trace: str | None) -> None:
        """Record a client's new hold, with its event."""
        self.add("placed_holds", _new_hold(hold))
        self._tell_hold(hold, "hold.failed" if hold.failure else "hold.placed", hold.created_at, trace=trace)

    def move(self, hold: Hold, at: datetime, capture: TransactionId | None = None, *, trace: str | None = None) -> None:
        """Store what became of a client's hold, with its event."""
        self._holds[hold.hold_id] = hold
        self._tell_hold(hold, "hold.captured" if capture else f"hold.{hold.status}", at, capture, trace=trace)

    def tell(self, topic: str, key: str, kind: str, event_id: str, data: Row, *, trace: str | None) -> None:
        """An event as its model in domain/events.py has it; a test reads each with the model."""
        told = orjson.dumps({"type": kind, **data}, option=orjson.OPT_UTC_Z).decode()
        self.events.append((topic, key, kind, event_id, told, trace or "NULL"))

    def _tell_hold(
        self, hold: Hold, kind: str, at: datetime, capture: TransactionId | None = None, *, trace: str | None
    ) -> None:
        told: Row = {
            "hold_id": hold.hold_id,
            "client_id": hold.client_id,
            "wallet_id": hold.wallet_id,
            "status": hold.status,
            "amount": hold.amount.minor_units,
            "captured": hold.captured,
            "currency": hold.amount.currency,
            "memo": hold.memo,
            "expires_at": hold.expires_at,
            "timestamp": at,
            "tx_id": capture,
            "failure": {"code": hold.failure.code, "detail": hold.failure.detail} if hold.failure else None,
        }
        self.tell(HOLDS_TOPIC, hold.hold_id, kind, self.new_id(hold.hold_id.bucket), told, trace=trace)

    def statement(self) -> tuple[str, dict[str, object]]:
        """The one statement that writes everything, and its values."""
        if self._accounts:
            self.rows["accounts"] = [_standing_of(account) for account in self._accounts.values()]
        if self._holds:
            self.rows["moved_holds"] = [_standing_of_hold(hold) for hold in self._holds.values()]
        values: dict[str, object] = {table: orjson.dumps(rows).decode() for table, rows in self.rows.items()}
        present = {*self.rows, "events"} if self.events else self.rows.keys()
        if self.events:
            values |= _event_columns(self.events)
        return write_group(tuple(part for part in PARTS if part in present)), values


def _standing_of(account: Account) -> Row:
    return {
        "account_id": account.hex,
        "balance": account.balance,
        "held": account.held,
        "version": account.version,
        "updated_at": account.updated_at,
        "spent_on": account.spent_on,
        "spent": account.spent,
        **({"owed": account.owed} if account.kind == "wallet" else {}),
    }


def _new_hold(hold: Hold) -> Row:
    return {
        "hold_id": hold.hold_id.hex,
        "client_id": hold.client_id.hex,
        "account_id": hold.wallet_id.hex,
        "amount": hold.amount.minor_units,
        "currency": hold.amount.currency,
        "status": hold.status,
        "memo": hold.memo,
        "failure_code": hold.failure.code if hold.failure else None,
        "failure_detail": hold.failure.detail if hold.failure else None,
        "effective_at": hold.effective_at,
        "expires_at": hold.expires_at,
        "created_at": hold.created_at,
        "ended_at": hold.ended_at,
    }


def _standing_of_hold(hold: Hold) -> Row:
    return {
        "hold_id": hold.hold_id.hex,
        "status": hold.status,
        "captured": hold.captured,
        "ended_at": hold.ended_at,
    }


def told_of(txn: Transaction, status: TransactionStatus, at: datetime, why: Failure | ReturnNotice | None) -> Row:
    """A transaction as domain.events.TransactionEvent has it."""
    return {
        "tx_id": txn.transaction_id,
        "client_id": txn.client_id,
        "kind": txn.kind,
        "status": status,
        "sender_id": txn.source_wallet_id,
        "receiver_id": txn.destination_wallet_id,
        "bank_account_id": txn.bank_account_id,
        "amount": txn.amount.minor_units,
        "currency": txn.amount.currency,
        "memo": txn.memo,
        "timestamp": at,
        "failure": {"code": why.code, "detail": why.detail} if why else None,
    }


def array(values: list[str]) -> str:
    """A PostgreSQL array of words that need no quotes: numbers, ids, names of ours."""
    return f"{{{','.join(values)}}}"


def _event_columns(events: list[tuple[str, str, str, str, str, str]]) -> dict[str, object]:
    return {
        "topics": array([event[0] for event in events]),
        "keys": array([event[1] for event in events]),
        "lanes": array([str(lane_of(event[1])) for event in events]),
        "types": array([event[2] for event in events]),
        "event_ids": array([event[3] for event in events]),
        "data": [event[4] for event in events],
        "traces": array([event[5] for event in events]),
    }


def _reason(failure: Failure | None, notice: ReturnNotice | None) -> Row:
    """What the timeline says of a step that has a reason."""
    if notice is not None:
        return {"code": notice.code, "detail": notice.detail, "reference": notice.reference}
    return {"code": failure.code, "detail": failure.detail} if failure else {}


def _waiting(deferred: Deferral) -> Row:
    """What the timeline says of a deposit's credit that is not available whole."""
    return {"deferred": str(deferred.amount), "available_at": deferred.available_at}


class PostingRecord:
    """The rows of one step under a transaction's id, all stamped with the same `at`."""

    def __init__(
        self, writing: Writing, transaction_id: TransactionId, step: Step, at: datetime, effective_at: datetime
    ) -> None:
        self._writing = writing
        self._transaction_id = transaction_id
        self.step = step
        self.at = at
        self.effective_at = effective_at
        self._hex = transaction_id.hex
        self._bucket = transaction_id.bucket
        self._posting_id: str | None = None
        self.trace: str | None = None
        """What the step's events carry."""

    def add_step(self, decision: StepDecision, detail: Row, refused: Failure | None = None) -> str:
        """The step's outcome, and its line of the timeline; the digits of that line's id. Comes after its entries."""
        event_id = self._writing.new_id(self._bucket)
        self._writing.add(
            "steps",
            {
                "transaction_id": self._hex,
                "step": self.step,
                "outcome": decision,
                "refusal_code": refused.code if refused else None,
                "refusal_detail": refused.detail if refused else None,
                "posting_id": self._posting_id,
                "event_id": event_id,
                "detail": detail,
                "effective_at": self.effective_at,
                "created_at": self.at,
            },
        )
        return event_id

    def post(self, debited: Account, credited: Account, amount: int) -> None:
        """Move minor units: a pair of entries of the step's one posting, in the order in which they are posted."""
        self._posting_id = self._posting_id or self._writing.new_id(self._bucket)
        self._entry(self._posting_id, debited, "DEBIT", amount)
        self._entry(self._posting_id, credited, "CREDIT", amount)

    def _entry(self, posting_id: str, account: Account, side: Side, amount: int) -> None:
        account.apply(side, amount)
        entry_id = self._writing.new_id(self._bucket)
        line: Row = {
            "amount": amount,
            "currency": account.currency,
            "balance_after": account.balance,
            "version": account.version,
        }
        self._writing.add(
            "entries",
            {
                "entry_id": entry_id,
                "posting_id": posting_id,
                "transaction_id": self._hex,
                "account_id": account.hex,
                "type": side,
                "created_at": self.at,
                **line,
            },
        )
        account_id = account.public_id
        told: Row = {
            "entry_id": EntryId.from_hex(entry_id),
            "posting_id": PostingId.from_hex(posting_id),
            "tx_id": self._transaction_id,
            "account_id": account_id,
            "side": side,
            "timestamp": self.at,
            **line,
        }
        self._writing.tell(ENTRIES_TOPIC, account_id, "entry.posted", entry_id, told, trace=self.trace)

    def save(self, account: Account) -> None:
        """Store an account's new balance, held amount and version."""
        self._writing.save(account, self.at)


class StepRecord(PostingRecord):
    """The rows of one step of `transaction`."""

    def __init__(
        self,
        writing: Writing,
        transaction: Transaction,
        step: Step,
        at: datetime,
        effective_at: datetime,
        *,
        rail: Rail | None = None,
    ) -> None:
        super().__init__(writing, transaction.transaction_id, step, at, effective_at)
        self.transaction = transaction
        self.trace = transaction.trace
        self.rail = rail
        self.deferred: Deferral | None = None

    def outcome(
        self,
        status: TransactionStatus,
        decision: StepDecision,
        failure: Failure | None,
        *,
        new: bool,
        notice: ReturnNotice | None = None,
    ) -> None:
        """The step's outcome and where it leaves the transaction, with its event. Comes last."""
        txn = self.transaction
        refused = failure if decision is StepDecision.REFUSED else None
        detail = (
            _reason(failure, notice)
            | ({"rail": self.rail} if self.rail else {})
            | (_waiting(self.deferred) if self.deferred else {})
        )
        event_id = self.add_step(decision, detail, refused)
        if new:
            self._writing.add("transactions", self._new_transaction(status, failure))
        elif status != txn.status:
            self._writing.add("moves", self._standing(status, failure))
        if new or status != txn.status:
            self._tell_transaction(status, failure, notice, event_id)

    def _standing(self, status: TransactionStatus, failure: Failure | None) -> Row:
        failed = failure if status is TransactionStatus.FAILED else None
        return {
            "transaction_id": self._hex,
            "status": status,
            "failure_code": failed.code if failed else None,
            "failure_detail": failed.detail if failed else None,
            "completed_at": self.at if status.final else None,
        }

    def _new_transaction(self, status: TransactionStatus, failure: Failure | None) -> Row:
        txn = self.transaction
        return {
            "kind": txn.kind,
            "client_id": txn.client_id.hex,
            "amount": txn.amount.minor_units,
            "currency": txn.amount.currency,
            "source_wallet_id": txn.source_wallet_id and txn.source_wallet_id.hex,
            "destination_wallet_id": txn.destination_wallet_id and txn.destination_wallet_id.hex,
            "bank_account_id": txn.bank_account_id and txn.bank_account_id.hex,
            "bank": txn.bank,
            "memo": txn.memo,
            "workflow_id": txn.workflow_id,
            "effective_at": txn.effective_at,
            "created_at": self.at,
            **({"hold_id": txn.hold_id.hex} if txn.hold_id else {}),
            **({"rails": ",".join(txn.rails)} if txn.rails else {}),
            **({"trace": txn.trace} if txn.trace else {}),
            **self._standing(status, failure),
        }

    def place_hold(self, account: Account, deferred: Deferral | None = None) -> None:
        """Reserve the transaction's amount, or what of a deposit is deferred."""
        self.deferred = deferred
        self._writing.add(
            "placed_holds",
            {
                "hold_id": self._writing.new_id(self._bucket),
                "transaction_id": self._hex,
                "account_id": account.hex,
                "amount": deferred.amount if deferred else self.transaction.amount.minor_units,
                "currency": self.transaction.amount.currency,
                "status": HoldStatus.ACTIVE,
                "effective_at": self.effective_at,
                **({"available_at": deferred.available_at} if deferred else {}),
                "created_at": self.at,
            },
        )

    def end_hold(self, amount: int, *, captured: bool) -> None:
        """End the transaction's hold of `amount` minor units, once: the database refuses a second ending."""
        self._writing.add(
            "ended_holds",
            {
                "transaction_id": self._hex,
                "status": "captured" if captured else "released",
                "captured": amount if captured else 0,
                "ended_at": self.at,
            },
        )

    def draw_on(self, hold: Hold) -> None:
        """Store what is left of a client's hold after this capture."""
        self._writing.move(hold, self.at, self.transaction.transaction_id, trace=self.trace)

    def _tell_transaction(
        self, status: TransactionStatus, failure: Failure | None, notice: ReturnNotice | None, event_id: str
    ) -> None:
        txn = self.transaction
        told = told_of(txn, status, self.at, failure if status is TransactionStatus.FAILED else notice)
        self._writing.tell(TRANSACTIONS_TOPIC, txn.transaction_id, _EVENT_OF[status], event_id, told, trace=txn.trace)
