"""How a step is decided on locked accounts. Pure: no I/O; `ledger/rules.py` says what each step does.

The steps of a group are decided one after the other against the same accounts in memory, as if each had been committed
before the next. One that is refused leaves everything as it was.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime

from domain.availability import NOTHING_WAITS, Deferral, DepositTerms, deferral
from domain.calendar import banking_date
from domain.contracts.payments import Failure, PaymentRequest, ReturnNotice, StepCommand, StepResult
from domain.errors import LedgerRejected
from domain.ids import HoldId, WalletId
from domain.rails import Rail
from domain.transactions import Step, StepDecision, TransactionStatus, move
from ledger import holds
from ledger.accounts import Account, SystemAccount, SystemAccountsMissing, receivable_of, system_account
from ledger.records import StepRecord, Writing
from ledger.refusals import barred, demand_open, lacking
from ledger.rules import OF_CAPTURES, ROLES, RULES, HoldChange, Role, Rule
from ledger.service import Hold, Transaction
from ledger.shards import shard_of
from ledger.work import Begin, EndHold, PlacedHold, PlaceHold, Receive, Take

Wanted = Mapping[Role, WalletId | SystemAccount]


class Book:
    """The accounts of a group, and clients' holds, as they are after the steps decided so far."""

    def __init__(self, accounts: Iterable[Account], now: datetime, holds: Iterable[Hold] = ()) -> None:
        self._accounts = {account.hex: account for account in accounts}
        self._holds = {hold.hold_id: hold for hold in holds}
        self._now = now

    def accounts(self, wanted: Wanted) -> dict[Role, Account]:
        """The accounts by their roles. Raises LedgerRejected for a wallet that does not exist."""
        try:
            return {role: self._accounts[account.hex] for role, account in wanted.items()}
        except KeyError:
            absent = [str(account) for account in wanted.values() if account.hex not in self._accounts]
            raise LedgerRejected(f"there is no account {', '.join(absent)}") from None

    def hold(self, hold_id: HoldId, wallet_id: WalletId | None) -> Hold:
        """A client's hold on that wallet. Raises LedgerRejected for one that does not exist."""
        found = self._holds.get(hold_id)
        if found is None or found.wallet_id != wallet_id:
            raise LedgerRejected(f"there is no hold {hold_id} on {wallet_id}")
        return found

    def change(self, hold: Hold) -> None:
        """What became of a hold, for the steps that follow."""
        self._holds[hold.hold_id] = hold

    def demand_system_accounts(self, wanted: Iterable[Wanted]) -> None:
        """Raises SystemAccountsMissing if some of ours are not there, or a wallet owes and its debt is not locked."""
        ours = {account for roles in wanted for account in roles.values() if isinstance(account, SystemAccount)}
        ours |= {_debt_of(account) for account in self._accounts.values() if account.owed}
        if missing := [account for account in ours if account.hex not in self._accounts]:
            raise SystemAccountsMissing(missing)

    def debt(self, wallet: Account) -> Account:
        """Where it is kept what this wallet owes."""
        return self._accounts[_debt_of(wallet).hex]

    def moment(self, accounts: Iterable[Account]) -> datetime:
        """When a step on these accounts happens.

        Two machines' clocks, or one that was set back, must not make an account's entries run backwards.
        """
        latest = self._now
        for account in accounts:
            latest = max(latest, account.updated_at)
        return latest


def wanted_by(transaction: Transaction, step: Step, shards: int, rail: Rail | None = None) -> Wanted:
    """The accounts of the step's roles; `shards` is how many there are, `rail` the bank's that is used.

    Raises LedgerRejected for one in two roles, for another kind's step, and for a rail that is not the payment's.
    """
    rule = RULES[step]
    if rule.kind is not transaction.kind:
        raise LedgerRejected(f"{step} is not a step of a {transaction.kind}")
    if step is Step.CAPTURE_HOLD if transaction.hold_id is None else step not in OF_CAPTURES:
        raise LedgerRejected(f"{Step.CAPTURE_HOLD} is for captures of a hold, and {step} is not for this payment")
    if rail is not None and rail not in transaction.rails:
        raise LedgerRejected(f"{transaction.transaction_id} does not go over {rail}")
    wanted = {role: _account_of(transaction, role, shards, rail) for role in ROLES[step]}
    if len({account.hex for account in wanted.values()}) != len(wanted):
        raise LedgerRejected(f"{transaction.transaction_id} moves money from an account to itself")
    return wanted


def _account_of(transaction: Transaction, role: Role, shards: int, rail: Rail | None) -> WalletId | SystemAccount:
    match role:
        case Role.SOURCE:
            wallet = transaction.source_wallet_id
        case Role.DESTINATION:
            wallet = transaction.destination_wallet_id
        case Role.DUE_TO:
            return _due(role, transaction, transaction.destination_wallet_id, shards)
        case Role.DUE_FROM:
            return _due(role, transaction, transaction.source_wallet_id, shards)
        case Role.RECEIVABLE:
            assert transaction.destination_wallet_id is not None, f"{transaction.transaction_id} has no receiver"
            return receivable_of(transaction.destination_wallet_id, transaction.amount.currency)
        case _:
            assert transaction.bank is not None, f"{transaction.transaction_id} names no bank"
            cleared_over = rail or next(iter(transaction.rails), None)
            party = f"{transaction.bank}.{cleared_over}" if role is Role.CLEARING else transaction.bank
            return system_account(role, party, transaction.amount.currency, transaction.transaction_id)
    assert wallet is not None, f"{transaction.transaction_id} has no {role}"
    return wallet


def _debt_of(wallet: Account) -> SystemAccount:
    return receivable_of(WalletId.from_hex(wallet.hex), wallet.currency)


def _due(role: Role, transaction: Transaction, wallet: WalletId | None, shards: int) -> SystemAccount:
    assert wallet is not None, f"{transaction.transaction_id} names no wallet on another shard"
    other = str(shard_of(wallet.bucket, shards))
    return system_account(role, other, transaction.amount.currency, transaction.transaction_id)


def proposed(request: PaymentRequest) -> Transaction:
    """A new payment as it is before its first step."""
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
        hold_id=request.hold_id,
        rails=request.rail_plan,
        trace=request.trace,
    )


def begin(work: Begin, transaction: Transaction, wanted: Wanted, book: Book, writing: Writing) -> StepResult:
    """Take a payment's first step, or refuse it and record why. Raises LedgerRejected; then nothing is recorded."""
    rule = RULES[work.step]
    assert rule.first, f"{work.step} is not a first step"
    accounts = book.accounts(wanted)
    record = _first_record(work, transaction, book.moment(accounts.values()), writing)
    if transaction.hold_id is None:
        failure = (
            work.request.barred
            or barred(transaction.amount, accounts)
            or lacking(transaction.amount, accounts, transaction.effective_at)
        )
    else:
        failure = _draw(work, transaction.hold_id, accounts, book, record)
    return _decide(record, rule, accounts, book, failure, new=True, fingerprint=work.key.fingerprint)


def refuse(
    work: Begin, transaction: Transaction, wanted: Wanted, book: Book, writing: Writing, *, failure: Failure
) -> StepResult:
    """Record a new payment as decided against, for a reason that may lie outside it."""
    accounts = book.accounts(wanted)
    record = _first_record(work, transaction, book.moment(accounts.values()), writing)
    return _decide(record, RULES[work.step], accounts, book, failure, new=True, fingerprint=work.key.fingerprint)


def _first_record(work: Begin, transaction: Transaction, at: datetime, writing: Writing) -> StepRecord:
    return StepRecord(writing, transaction, work.step, at, work.request.effective_at)


def receive(work: Receive, transaction: Transaction, wanted: Wanted, book: Book, writing: Writing) -> StepResult:
    """Credit the receiver on this shard, or record why not. The transaction is recorded on the sender's."""
    rule, step = RULES[Step.RECEIVE_TRANSFER], Step.RECEIVE_TRANSFER
    accounts = book.accounts(wanted)
    record = StepRecord(writing, transaction, step, book.moment(accounts.values()), work.effective_at)
    failure = work.failure or barred(transaction.amount, accounts)
    if failure is None:
        _move_money(record, rule, accounts, book)
    decision = StepDecision.REFUSED if failure else StepDecision.POSTED
    record.outcome(transaction.status, decision, failure, new=False)
    return StepResult(
        transaction_id=transaction.transaction_id,
        step=step,
        decision=decision,
        status=transaction.status,
        failure=failure,
        fingerprint=work.key.fingerprint,
    )


def _draw(
    work: Begin, hold_id: HoldId, accounts: dict[Role, Account], book: Book, record: StepRecord
) -> Failure | None:
    """Take a capture's amount from its hold, or say why not."""
    request = work.request
    hold = book.hold(hold_id, request.source_wallet_id)
    if hold.client_id != request.client_id:
        raise LedgerRejected(f"{hold_id} was placed by another client")
    failure = barred(request.amount, accounts) or holds.why_not_captured(hold, request.amount, request.effective_at)
    if failure is None:
        left = holds.captured(hold, request.amount, record.at, releases_rest=request.releases_rest)
        source, over = accounts[Role.SOURCE], hold.remaining - left.remaining
        source.held -= over
        source.give_back(over - request.amount.minor_units, banking_date(hold.effective_at))
        book.change(left)
        record.draw_on(left)
    return failure


def place_hold(work: PlaceHold, wanted: Wanted, book: Book, writing: Writing) -> PlacedHold:
    """Reserve money for a client, or record why not. Raises LedgerRejected; then nothing is recorded."""
    accounts = book.accounts(wanted)
    account = accounts[Role.SOURCE]
    request, at = work.request, book.moment([account])
    failure = barred(request.amount, accounts) or lacking(request.amount, accounts, request.effective_at)
    hold = holds.new_hold(request, failure, at)
    if failure is None:
        account.held += hold.remaining
        account.spend(hold.remaining, banking_date(request.effective_at))
    writing.place(hold, request.trace)
    writing.save(account, at)
    return PlacedHold(hold.hold_id, work.key.fingerprint, hold)


def end_hold(work: EndHold, wanted: Wanted, book: Book, writing: Writing) -> Hold:
    """Let go of what remains of a client's hold; one that has ended stays as it is. Raises LedgerRejected."""
    account = book.accounts(wanted)[Role.SOURCE]
    at = book.moment([account])
    hold = book.hold(work.hold_id, work.wallet_id)
    left = holds.ended(hold, work.status, work.effective_at, at)
    if left is not hold:
        account.held -= hold.remaining
        account.give_back(hold.remaining, banking_date(hold.effective_at))
        book.change(left)
        writing.move(left, at)
        writing.save(account, at)
    return left


class TooCloseError(Exception):
    """A group would place a deposit's hold and end it with one statement: its steps have to be taken one by one."""


class Recorded:
    """A recorded transaction while its later steps are decided; locked. `deferred` is what waits of a deposit."""

    def __init__(self, transaction: Transaction, taken: dict[Step, StepResult]) -> None:
        self.transaction = transaction
        self.taken = taken
        self.deferred: Deferral | None = None
        self._deferred_now = False

    def take(self, work: Take, wanted: Wanted, book: Book, writing: Writing) -> StepResult:
        """Take a later step, or answer what became of it before. Raises LedgerRejected."""
        command, rule = work.command, RULES[work.command.step]
        if command.step in self.taken:
            return self.taken[command.step]
        self._demand_order(command, rule)
        accounts = book.accounts(wanted)
        if rule.then is TransactionStatus.RETURNED and rule.credit is Role.SOURCE:
            demand_open(accounts[Role.SOURCE])
        at = book.moment(accounts.values())
        record = StepRecord(writing, self.transaction, command.step, at, work.effective_at, rail=command.rail)
        if rule.hold in (HoldChange.MATURE, HoldChange.FORFEIT):
            self._end_deferral(record, rule, accounts[Role.DESTINATION])
        result = _decide(
            record, rule, accounts, book, command.failure, new=False, notice=command.notice, terms=work.terms
        )
        self._moved(result)
        if record.deferred is not None:
            self.deferred, self._deferred_now = record.deferred, True
        return result

    def _end_deferral(self, record: StepRecord, rule: Rule, wallet: Account) -> None:
        """What waits of the deposit can be spent now, or is there for its return. Raises LedgerRejected."""
        if rule.hold is HoldChange.MATURE:
            if self.deferred is None:
                raise LedgerRejected(f"nothing of {self.transaction.transaction_id} waits to be available")
            if record.effective_at < self.deferred.available_at:
                raise LedgerRejected(f"it is not available before {self.deferred.available_at.isoformat()}")
        if self.deferred is not None:
            if self._deferred_now:
                raise TooCloseError(self.transaction.transaction_id)
            wallet.held -= self.deferred.amount
            record.end_hold(self.deferred.amount, captured=rule.hold is HoldChange.FORFEIT)
            self.deferred = None

    def _moved(self, result: StepResult) -> None:
        self.transaction = replace(self.transaction, status=result.status)
        self.taken = {step: replace(other, status=result.status) for step, other in self.taken.items()}
        self.taken[result.step] = replace(result, replayed=True)

    def _demand_order(self, command: StepCommand, rule: Rule) -> None:
        assert not rule.first, f"{command.step} begins a payment"
        assert not rule.elsewhere, f"{command.step} is taken on another shard"
        posted = {step for step, result in self.taken.items() if result.decision is StepDecision.POSTED}
        if rule.after is not None and rule.after not in posted:
            raise LedgerRejected(f"{command.step} wants {rule.after} to be posted before")
        if rule.not_after in posted:
            raise LedgerRejected(f"{command.step} cannot follow {rule.not_after}")
        if (rule.then is TransactionStatus.FAILED) != (command.failure is not None):
            raise LedgerRejected(f"{command.step} wants a failure exactly when it fails the transaction")
        if (rule.then is TransactionStatus.RETURNED) != (command.notice is not None):
            raise LedgerRejected(f"{command.step} wants a notice exactly when it takes a settled payment back")
        if rule.leads_to is not None:
            move(self.transaction.status, rule.leads_to)


def _decide(
    record: StepRecord,
    rule: Rule,
    accounts: dict[Role, Account],
    book: Book,
    failure: Failure | None,
    *,
    new: bool,
    fingerprint: str | None = None,
    notice: ReturnNotice | None = None,
    terms: DepositTerms = NOTHING_WAITS,
) -> StepResult:
    """Put everything that the step means into the record."""
    refused = new and failure is not None
    decision = StepDecision.REFUSED if refused else StepDecision.POSTED
    status = TransactionStatus.FAILED if refused else rule.then
    if not refused:
        _move_money(record, rule, accounts, book)
        if rule.hold is HoldChange.DEFER:
            _defer(record, accounts[Role.DESTINATION], terms)
    record.outcome(status, decision, failure, new=new, notice=notice)
    return StepResult(
        transaction_id=record.transaction.transaction_id,
        step=record.step,
        decision=decision,
        status=status,
        failure=failure,
        fingerprint=fingerprint,
    )


def _move_money(record: StepRecord, rule: Rule, accounts: dict[Role, Account], book: Book) -> None:
    amount = record.transaction.amount.minor_units
    source = accounts.get(Role.SOURCE)
    if source is not None and record.transaction.hold_id is None:  # What a client's hold takes counts on its day.
        _count(rule, source, amount, banking_date(record.transaction.effective_at))
    if rule.hold is HoldChange.PLACE:
        assert source is not None
        source.held += amount
        record.place_hold(source)
    if rule.hold in (HoldChange.CAPTURE, HoldChange.RELEASE):
        assert source is not None
        source.held -= amount
        record.end_hold(amount, captured=rule.hold is HoldChange.CAPTURE)
    if rule.debit is not None and rule.credit is not None:
        record.post(accounts[rule.debit], accounts[rule.credit], amount)
        if rule.debit is Role.RECEIVABLE:
            accounts[Role.DESTINATION].owed += amount
        _collect(record, accounts, book)
    for account in accounts.values():
        assert account.can_spend(0), f"{account.public_id} would fall below its floor"
        record.save(account)


def _defer(record: StepRecord, wallet: Account, terms: DepositTerms) -> None:
    """Hold back what is at risk of a deposit, of what debts have left of it."""
    rail = record.rail or next(iter(record.transaction.rails), None)
    wanted = deferral(terms, rail, record.transaction.amount.minor_units, record.effective_at)
    if wanted is not None and (amount := min(wanted.amount, wallet.balance - wallet.held)) > 0:
        wallet.held += amount
        record.place_hold(wallet, replace(wanted, amount=amount))


def _collect(record: StepRecord, accounts: dict[Role, Account], book: Book) -> None:
    """Take what wallets owe of what they can spend now."""
    for wallet in [account for account in accounts.values() if account.owed]:
        if collected := wallet.collectable:
            debt = book.debt(wallet)
            record.post(wallet, debt, collected)
            wallet.owed -= collected
            record.save(debt)


def _count(rule: Rule, source: Account, amount: int, day: date) -> None:
    """What counts against the wallet's daily limit is what was asked for on a day and has not come back on it."""
    if rule.spends:
        source.spend(amount, day)
    elif rule.gives_back:
        source.give_back(amount, day)
