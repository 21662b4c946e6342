"""The one writer. A step is decided on locked accounts and written in the commit that makes it true.

Everything a step means (transaction, outcome, posting, entries, balances, hold, idempotency key, timeline, events) is
one database transaction. `ledger/rules.py` says what each step does, `ledger/statements.py` in which order things
are locked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.contracts.payments import Failure, IdempotencyRecord, PaymentRequest, StepCommand, StepResult
from domain.errors import DecisionCode, IdempotencyKeyReused, LedgerRejected
from domain.ids import TransactionId
from domain.transactions import Step, StepDecision, TransactionStatus, move
from infra.database import Pipeline
from ledger import statements
from ledger.accounts import Account, Side, SystemAccount, SystemAccountsMissing, system_account
from ledger.queries import transaction_of
from ledger.records import StepRecord
from ledger.rules import RULES, HoldChange, Role, Rule
from ledger.service import AccountStatus, Transaction

Wanted = dict[Role, UUID | SystemAccount]


@dataclass(frozen=True, slots=True)
class _Locked:
    accounts: dict[Role, Account]
    at: datetime


async def begin(pipeline: Pipeline, request: PaymentRequest, step: Step) -> StepResult | None:
    """Record a new payment and take its first step, in two round trips; None if its key was used before.

    Then nothing is committed, and `resume` tells what became of the key.
    """
    rule = RULES[step]
    assert rule.first, f"{step} is not a first step"
    assert rule.kind is request.kind, f"{step} is not a step of a {request.kind}"
    assert request.idempotency is not None, "a new payment has a key"
    transaction = _as_proposed(request)
    wanted = _wanted(transaction, rule)
    claimed, rows = await pipeline.run(
        (statements.CLAIM_KEY, _claim(request.idempotency, request.transaction_id)),
        (statements.LOCK_ACCOUNTS, {"account_ids": _sorted_ids(wanted)}),
    )
    if not claimed:
        return None
    locked = _locked(wanted, rows)
    failure = _refusal(transaction, rule, locked.accounts)
    record = StepRecord(transaction, step, locked.at, request.effective_at)
    result = _decide(record, locked.accounts, failure, new=True)
    await pipeline.run_and_commit(statements.WRITE_STEP, {"work": record.as_json()})
    return replace(result, fingerprint=request.idempotency.fingerprint)


async def resume(connection: AsyncConnection, request: PaymentRequest, step: Step) -> StepResult:
    """The first outcome of a payment that is recorded: under its key, or (the sweeper's) under its id.

    Raises IdempotencyKeyReused.
    """
    key = request.idempotency
    if key is None:
        return await _first_outcome(connection, request.transaction_id, step)
    row = (await connection.execute(statements.FIND_KEY, {"key_digest": bytes.fromhex(key.key_digest)})).one()
    if row.fingerprint != key.fingerprint:
        raise IdempotencyKeyReused
    first = await _first_outcome(connection, TransactionId.of(row.transaction_id), step)
    return replace(first, fingerprint=key.fingerprint)


async def take_step(connection: AsyncConnection, command: StepCommand, effective_at: datetime) -> StepResult:
    """Take a later step, once. Raises LedgerRejected."""
    rule = RULES[command.step]
    assert not rule.first, f"{command.step} begins a payment"
    transaction, taken = await _lock_transaction(connection, command.transaction_id)
    if command.step in taken:
        return taken[command.step]
    _demand_order(command, rule, transaction, taken)
    locked = await _lock(connection, transaction, rule)
    record = StepRecord(transaction, command.step, locked.at, effective_at)
    result = _decide(record, locked.accounts, command.failure, new=False)
    await connection.execute(statements.WRITE_STEP, {"work": record.as_json()})
    return result


async def open_accounts(connection: AsyncConnection, accounts: list[SystemAccount]) -> None:
    """Open our own accounts, in a commit of its own: a step that waited for another's with locks could deadlock."""
    rows = [{"account_id": a.account_id, "kind": a.kind, "code": a.code, "currency": a.currency} for a in accounts]
    await connection.execute(statements.OPEN_SYSTEM_ACCOUNTS, {"accounts": orjson.dumps(rows).decode()})


def _claim(key: IdempotencyRecord, proposed: TransactionId) -> dict[str, object]:
    return {
        "key_digest": bytes.fromhex(key.key_digest),
        "fingerprint": bytes.fromhex(key.fingerprint),
        "transaction_id": proposed.uuid,
    }


async def _first_outcome(connection: AsyncConnection, transaction_id: TransactionId, step: Step) -> StepResult:
    _, taken = await _lock_transaction(connection, transaction_id)
    if step not in taken:
        raise LedgerRejected(f"{transaction_id} is recorded without its first step {step}")
    return taken[step]


async def _lock_transaction(
    connection: AsyncConnection, transaction_id: TransactionId
) -> tuple[Transaction, dict[Step, StepResult]]:
    key = {"transaction_id": transaction_id.uuid}
    row = (await connection.execute(statements.LOCK_TRANSACTION, key)).first()
    if row is None:
        raise LedgerRejected(f"{transaction_id} is not recorded")
    transaction = transaction_of(row)
    taken = {}
    for step in await connection.execute(statements.STEPS_TAKEN, key):
        refused = Failure(code=step.refusal_code, detail=step.refusal_detail) if step.refusal_code else None
        taken[Step(step.step)] = StepResult(
            transaction_id=transaction_id,
            step=Step(step.step),
            decision=StepDecision(step.outcome),
            status=transaction.status,
            failure=refused or transaction.failure,
            replayed=True,
        )
    return transaction, taken


def _demand_order(command: StepCommand, rule: Rule, transaction: Transaction, taken: dict[Step, StepResult]) -> None:
    posted = {step for step, result in taken.items() if result.decision is StepDecision.POSTED}
    if rule.kind is not transaction.kind:
        raise LedgerRejected(f"{command.step} is not a step of a {transaction.kind}")
    if rule.after is not None and rule.after not in posted:
        raise LedgerRejected(f"{command.step} wants {rule.after} to be posted before")
    if rule.not_after in posted:
        raise LedgerRejected(f"{command.step} cannot follow {rule.not_after}")
    if (rule.then is TransactionStatus.FAILED) != (command.failure is not None):
        raise LedgerRejected(f"{command.step} wants a failure exactly when it fails the transaction")
    move(transaction.status, rule.then)


def _as_proposed(request: PaymentRequest) -> Transaction:
    return Transaction(
        transaction_id=request.transaction_id,
        kind=request.kind,
        status=TransactionStatus.PENDING,
        client_id=request.client_id,
        amount=request.amount,
        source_wallet_id=request.source_wallet_id,
        destination_wallet_id=request.destination_wallet_id,
        bank_account_id=request.bank_account_id,
        bank=request.bank,
        memo=request.memo,
        failure=None,
        attention=None,
        workflow_id=request.workflow_id,
        effective_at=request.effective_at,
        created_at=request.effective_at,
        completed_at=None,
    )


def _account_of(transaction: Transaction, role: Role) -> UUID | SystemAccount:
    match role:
        case Role.SOURCE:
            wallet = transaction.source_wallet_id
        case Role.DESTINATION:
            wallet = transaction.destination_wallet_id
        case _:
            assert transaction.bank is not None, f"{transaction.transaction_id} names no bank"
            return system_account(role, transaction.bank, transaction.amount.currency, transaction.transaction_id)
    assert wallet is not None, f"{transaction.transaction_id} has no {role}"
    return wallet.uuid


def _wanted(transaction: Transaction, rule: Rule) -> Wanted:
    """The accounts of the rule's roles. Raises LedgerRejected for one in two roles."""
    wanted = {role: _account_of(transaction, role) for role in rule.roles}
    if len({_id_of(account) for account in wanted.values()}) != len(wanted):
        raise LedgerRejected(f"{transaction.transaction_id} moves money from an account to itself")
    return wanted


def _id_of(account: UUID | SystemAccount) -> UUID:
    return account if isinstance(account, UUID) else account.account_id


def _sorted_ids(wanted: Wanted) -> list[UUID]:
    return sorted(_id_of(account) for account in wanted.values())


async def _lock(connection: AsyncConnection, transaction: Transaction, rule: Rule) -> _Locked:
    """Lock the accounts of the rule's roles in one sorted statement. Raises what `_wanted` and `_locked` raise."""
    wanted = _wanted(transaction, rule)
    if not wanted:
        return _Locked({}, (await connection.execute(statements.DATABASE_TIME)).scalar_one())
    rows = (await connection.execute(statements.LOCK_ACCOUNTS, {"account_ids": _sorted_ids(wanted)})).all()
    return _locked(wanted, rows)


def _locked(wanted: Wanted, rows: Sequence[Any]) -> _Locked:
    """Rows of LOCK_ACCOUNTS by role.

    Raises LedgerRejected for an unknown wallet, SystemAccountsMissing at the first use of an account of ours.
    """
    found = {row.account_id: _account_in(row) for row in rows}
    absent = [account for account in wanted.values() if _id_of(account) not in found]
    if unknown := [account for account in absent if isinstance(account, UUID)]:
        raise LedgerRejected(f"there is no account {', '.join(map(str, unknown))}")
    if missing := [account for account in absent if isinstance(account, SystemAccount)]:
        raise SystemAccountsMissing(missing)
    # Two machines' clocks, or one that was set back, must not make an account's entries run backwards.
    at = max(moment for account in found.values() for moment in (account.locked_at, account.updated_at))
    return _Locked({role: found[_id_of(account)] for role, account in wanted.items()}, at)


def _account_in(row: Any) -> Account:  # noqa: ANN401  -- a row of SQLAlchemy's or of the driver's
    return Account(
        account_id=row.account_id,
        kind=row.kind,
        currency=row.currency,
        balance=row.balance,
        held=row.held,
        floor=row.floor,
        version=row.version,
        status=AccountStatus(row.status),
        updated_at=row.updated_at,
        locked_at=row.locked_at,
    )


def _refusal(transaction: Transaction, rule: Rule, accounts: dict[Role, Account]) -> Failure | None:
    """Why the ledger decides against a new payment, or None. The order is part of the contract."""
    for role in (Role.SOURCE, Role.DESTINATION):
        account = accounts.get(role)
        if account is None:
            continue
        who = "The sender's" if role is Role.SOURCE else "The receiver's"
        if account.status is AccountStatus.CLOSED:
            return Failure(code=DecisionCode.WALLET_CLOSED, detail=f"{who} wallet is closed.")
        if account.status is AccountStatus.FROZEN:
            return Failure(code=DecisionCode.WALLET_FROZEN, detail=f"{who} wallet is frozen.")
        if account.currency != transaction.amount.currency:
            return Failure(
                code=DecisionCode.CURRENCY_MISMATCH,
                detail=f"{who} wallet is in {account.currency}, the amount in {transaction.amount.currency}.",
            )
    source = accounts.get(Role.SOURCE)
    if source is not None and not source.can_spend(transaction.amount.minor_units):
        return Failure(code=DecisionCode.INSUFFICIENT_FUNDS, detail="The available balance is less than the amount.")
    return None


def _move_money(record: StepRecord, rule: Rule, accounts: dict[Role, Account]) -> None:
    amount = record.transaction.amount.minor_units
    source = accounts.get(Role.SOURCE)
    if rule.hold is not None:
        assert source is not None
        if rule.hold is HoldChange.PLACE:
            source.held += amount
            record.place_hold(source)
        else:
            source.held -= amount
            record.end_hold(captured=rule.hold is HoldChange.CAPTURE)
    if rule.debit is not None and rule.credit is not None:
        lines: list[tuple[Account, Side]] = [(accounts[rule.debit], "DEBIT"), (accounts[rule.credit], "CREDIT")]
        for account, side in lines:
            account.apply(side, amount)
        record.post(lines)
    for account in accounts.values():
        assert account.can_spend(0), f"{account.public_id} would fall below its floor"
        record.save(account)


def _decide(record: StepRecord, accounts: dict[Role, Account], failure: Failure | None, *, new: bool) -> StepResult:
    """Put everything that the step means into the record."""
    rule = RULES[record.step]
    refused = new and failure is not None
    decision = StepDecision.REFUSED if refused else StepDecision.POSTED
    status = TransactionStatus.FAILED if refused else rule.then
    if not refused:
        _move_money(record, rule, accounts)
    record.outcome(status, decision, failure, new=new)
    return StepResult(
        transaction_id=record.transaction.transaction_id,
        step=record.step,
        decision=decision,
        status=status,
        failure=failure,
    )
