"""The one writer. A step is decided on locked accounts and written in the commit that makes it true.

Everything a step means (transaction, outcome, posting, entries, balances, hold, idempotency key, timeline, events) is
one database transaction. `ledger/rules.py` says what each step does, `ledger/statements.py` in which order things
are locked.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.contracts.payments import Failure, IdempotencyRecord, PaymentRequest, StepCommand, StepResult
from domain.errors import DecisionCode, IdempotencyKeyReused, LedgerRejected
from domain.ids import TransactionId
from domain.transactions import Step, StepDecision, TransactionStatus, move
from ledger import statements
from ledger.accounts import Account, Side, SystemAccount, SystemAccountsMissing, system_account
from ledger.queries import transaction_of
from ledger.records import StepRecord
from ledger.rules import RULES, HoldChange, Role, Rule
from ledger.service import AccountStatus, Transaction


@dataclass(frozen=True, slots=True)
class _Locked:
    accounts: dict[Role, Account]
    at: datetime


async def begin(connection: AsyncConnection, request: PaymentRequest, step: Step) -> StepResult:
    """Record a new payment and take its first step. Raises IdempotencyKeyReused."""
    rule = RULES[step]
    assert rule.first, f"{step} is not a first step"
    assert rule.kind is request.kind, f"{step} is not a step of a {request.kind}"
    if request.idempotency is None:
        return await _resume(connection, request.transaction_id, step, None)
    recorded = await _claim_key(connection, request.idempotency, request.transaction_id)
    if recorded is not None:
        return await _resume(connection, recorded, step, request.idempotency.fingerprint)
    transaction = _as_proposed(request)
    locked = await _lock(connection, transaction, rule)
    failure = _refusal(transaction, rule, locked.accounts)
    record = StepRecord(transaction, step, locked.at, request.effective_at)
    result = await _write(connection, record, locked.accounts, failure, new=True)
    return _with_key(result, request.idempotency.fingerprint, replayed=False)


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
    return await _write(connection, record, locked.accounts, command.failure, new=False)


async def open_accounts(connection: AsyncConnection, accounts: list[SystemAccount]) -> None:
    """Open our own accounts, in a commit of its own: a step that waited for another's with locks could deadlock."""
    rows = [{"account_id": a.account_id, "kind": a.kind, "code": a.code, "currency": a.currency} for a in accounts]
    await connection.execute(statements.OPEN_SYSTEM_ACCOUNTS, {"accounts": orjson.dumps(rows).decode()})


async def _claim_key(
    connection: AsyncConnection, key: IdempotencyRecord, proposed: TransactionId
) -> TransactionId | None:
    digest, fingerprint = bytes.fromhex(key.key_digest), bytes.fromhex(key.fingerprint)
    parameters = {"key_digest": digest, "fingerprint": fingerprint, "transaction_id": proposed.uuid}
    if (await connection.execute(statements.CLAIM_KEY, parameters)).first() is not None:
        return None
    row = (await connection.execute(statements.FIND_KEY, {"key_digest": digest})).one()
    if row.fingerprint != key.fingerprint:
        raise IdempotencyKeyReused
    return TransactionId.of(row.transaction_id)


async def _resume(
    connection: AsyncConnection, transaction_id: TransactionId, step: Step, fingerprint: str | None
) -> StepResult:
    _, taken = await _lock_transaction(connection, transaction_id)
    if step not in taken:
        raise LedgerRejected(f"{transaction_id} is recorded without its first step {step}")
    return _with_key(taken[step], fingerprint, replayed=True)


def _with_key(result: StepResult, fingerprint: str | None, *, replayed: bool) -> StepResult:
    return StepResult(
        transaction_id=result.transaction_id,
        step=result.step,
        decision=result.decision,
        status=result.status,
        failure=result.failure,
        replayed=replayed,
        fingerprint=fingerprint,
    )


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


async def _lock(connection: AsyncConnection, transaction: Transaction, rule: Rule) -> _Locked:
    """Lock the accounts of the rule's roles in one sorted statement.

    Raises LedgerRejected for an unknown wallet and for one in two roles, SystemAccountsMissing for the first use.
    """
    wanted = {role: _account_of(transaction, role) for role in rule.roles}
    if not wanted:
        return _Locked({}, (await connection.execute(statements.DATABASE_TIME)).scalar_one())
    system = [account for account in wanted.values() if isinstance(account, SystemAccount)]
    ids = {role: account if isinstance(account, UUID) else account.account_id for role, account in wanted.items()}
    if len(set(ids.values())) != len(ids):
        raise LedgerRejected(f"{transaction.transaction_id} moves money from an account to itself")
    found = await _lock_rows(connection, list(ids.values()))
    if missing := [account for account in system if account.account_id not in found]:
        raise SystemAccountsMissing(missing)
    if unknown := set(ids.values()) - set(found):
        raise LedgerRejected(f"there is no account {', '.join(str(account) for account in unknown)}")
    # Two machines' clocks, or one that was set back, must not make an account's entries run backwards.
    at = max(moment for account in found.values() for moment in (account.locked_at, account.updated_at))
    return _Locked({role: found[account_id] for role, account_id in ids.items()}, at)


async def _lock_rows(connection: AsyncConnection, ids: list[UUID]) -> dict[UUID, Account]:
    rows = (await connection.execute(statements.LOCK_ACCOUNTS, {"account_ids": sorted(ids)})).all()
    return {
        row.account_id: Account(
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
        for row in rows
    }


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


async def _write(
    connection: AsyncConnection,
    record: StepRecord,
    accounts: dict[Role, Account],
    failure: Failure | None,
    *,
    new: bool,
) -> StepResult:
    rule = RULES[record.step]
    refused = new and failure is not None
    decision = StepDecision.REFUSED if refused else StepDecision.POSTED
    status = TransactionStatus.FAILED if refused else rule.then
    if not refused:
        _move_money(record, rule, accounts)
    record.outcome(status, decision, failure, new=new)
    await connection.execute(statements.WRITE_STEP, {"work": record.as_json()})
    return StepResult(
        transaction_id=record.transaction.transaction_id,
        step=record.step,
        decision=decision,
        status=status,
        failure=failure,
    )
