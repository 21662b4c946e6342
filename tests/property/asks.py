"""What a caller may ask of the ledger: how it is sent, and what the model says to it. Either gives an Answer."""

from collections.abc import Awaitable
from dataclasses import astuple, dataclass
from typing import Protocol

from domain.contracts.holds import HoldRequest
from domain.contracts.payments import Failure, IdempotencyRecord, PaymentRequest, ReturnNotice, StepCommand, StepResult
from domain.contracts.suspense import Clearance, Clearing, NewSuspenseItem
from domain.contracts.wallets import WalletChange
from domain.contracts.write_offs import NewWriteOff
from domain.errors import IdempotencyKeyReused, SagapayError
from domain.holds import HoldStatus
from domain.ids import HoldId, TransactionId, WalletId
from domain.transactions import Step, TransactionKind
from ledger.batch_records import NewBatch, NewBatchItem, outcome_of
from ledger.batches import Batches
from ledger.local import LocalLedger
from ledger.service import Wallet
from tests.property.ledger_model import LedgerModel
from tests.property.payment_model import FAILING, RETURNING, Answer, BatchModel, HoldModel, Outcome
from tests.property.wallet_model import NOON, Standing, day_of


class Ask(Protocol):
    """One call."""

    async def send(self, ledger: LocalLedger) -> Answer:
        """What the ledger says. Raises SagapayError."""
        ...

    def expect(self, model: LedgerModel) -> Answer:
        """What the model says, which changes as the ledger should."""
        ...


async def answered(sent: Awaitable[Answer]) -> Answer:
    """An error is an answer too."""
    try:
        return await sent
    except SagapayError as error:
        return error.code


def standing_of(wallet: Wallet) -> Standing:
    """A wallet in the model's words."""
    rules = wallet.status, wallet.debits_frozen, wallet.credits_frozen, wallet.limits
    return wallet.posted, wallet.held, wallet.version, *rules, wallet.spent, wallet.spent_on, wallet.owed


def _outcome(result: StepResult) -> Outcome:
    failure = result.failure.code if result.failure else None
    return Outcome(result.transaction_id, result.step, result.decision, result.status, failure, result.replayed)


def _failure(code: str | None) -> Failure | None:
    return Failure(code=code, detail="A test.") if code else None


@dataclass(frozen=True)
class Pay:
    """Begin a payment."""

    request: PaymentRequest

    async def send(self, ledger: LocalLedger) -> Answer:
        """See Ask."""
        return _outcome(await ledger.begin(self.request, _first_asked(self.request)))

    def expect(self, model: LedgerModel) -> Answer:
        """See Ask."""
        return model.begin(self.request)


def _first_asked(request: PaymentRequest) -> Step:
    match request.kind:
        case TransactionKind.TRANSFER:
            return request.transfer_step
        case TransactionKind.DEPOSIT:
            return Step.RECORD_DEPOSIT
        case TransactionKind.WITHDRAWAL:
            return Step.HOLD_WITHDRAWAL


@dataclass(frozen=True)
class TakeStep:
    """Take a later step. `reason` is what a step says that ends a payment unpaid."""

    transaction_id: TransactionId
    step: Step
    reason: str | None

    async def send(self, ledger: LocalLedger) -> Answer:
        """See Ask."""
        failure = _failure(self.reason) if self.step in FAILING else None
        notice = ReturnNotice(reference="ret", code="R10") if self.step in RETURNING else None
        command = StepCommand(transaction_id=self.transaction_id, step=self.step, failure=failure, notice=notice)
        return _outcome(await ledger.take_step(command))

    def expect(self, model: LedgerModel) -> Answer:
        """See Ask."""
        return model.take(self.transaction_id, self.step, self.reason)


@dataclass(frozen=True)
class ReceiveTransfer:
    """Credit the receiver of a transfer that was sent, or with `failure` say that it will not be."""

    request: PaymentRequest
    failure: str | None

    async def send(self, ledger: LocalLedger) -> Answer:
        """See Ask."""
        return _outcome(await ledger.receive_transfer(self.request, _failure(self.failure)))

    def expect(self, model: LedgerModel) -> Answer:
        """See Ask."""
        return model.receive(self.request.transaction_id, self.failure)


@dataclass(frozen=True)
class PlaceHold:
    """Reserve money."""

    request: HoldRequest

    async def send(self, ledger: LocalLedger) -> Answer:
        """See Ask."""
        placed = await ledger.place_hold(self.request)
        hold = placed.hold
        failure = hold.failure.code if hold.failure else None
        return hold.hold_id, hold.status, hold.captured, hold.remaining, failure, placed.replayed

    def expect(self, model: LedgerModel) -> Answer:
        """See Ask."""
        request = self.request
        hold = HoldModel(
            wallet=request.wallet_id,
            amount=request.amount.minor_units,
            day=day_of(request.effective_at),
            overdue=request.expires_at < NOON,
        )
        return model.place(request.idempotency, request.hold_id, hold)


@dataclass(frozen=True)
class ReleaseHold:
    """Let go of what remains; a hold that has ended stays as it is."""

    hold_id: HoldId

    async def send(self, ledger: LocalLedger) -> Answer:
        """See Ask."""
        hold = await ledger.release_hold(self.hold_id)
        return hold.status, hold.captured, hold.remaining, hold.failure.code if hold.failure else None

    def expect(self, model: LedgerModel) -> Answer:
        """See Ask."""
        hold = model.holds[self.hold_id]
        model.end(hold, HoldStatus.RELEASED)
        return hold.standing


@dataclass(frozen=True)
class ChangeRules:
    """Freeze, unfreeze, limit or close."""

    wallet_id: WalletId
    change: WalletChange

    async def send(self, ledger: LocalLedger) -> Answer:
        """See Ask."""
        return standing_of((await ledger.change_wallet(self.wallet_id, self.change)).wallet)

    def expect(self, model: LedgerModel) -> Answer:
        """See Ask."""
        return model.change(self.wallet_id, self.change)


@dataclass(frozen=True)
class ReadWallet:
    """Ask how it stands, in the middle of everything."""

    wallet_id: WalletId

    async def send(self, ledger: LocalLedger) -> Answer:
        """See Ask."""
        wallet = await ledger.wallet(self.wallet_id)
        assert wallet is not None
        return standing_of(wallet)

    def expect(self, model: LedgerModel) -> Answer:
        """See Ask."""
        return model.wallets[self.wallet_id].standing


@dataclass(frozen=True)
class AcceptBatch:
    """Record a batch, of which nothing is paid yet."""

    batch: NewBatch
    key: IdempotencyRecord

    async def send(self, ledger: LocalLedger) -> Answer:
        """See Ask."""
        batch, replayed = await Batches(ledger.shards).accept(self.batch, self.key)
        return batch.batch_id, replayed

    def expect(self, model: LedgerModel) -> Answer:
        """See Ask."""
        payments = [_payment_of(self.batch, item) for item in self.batch.items]
        return model.accept(self.key, BatchModel(self.batch.batch_id, self.batch.mode, payments))


def _payment_of(batch: NewBatch, item: NewBatchItem) -> PaymentRequest:
    return PaymentRequest(
        transaction_id=item.proposed_id,
        kind=TransactionKind.TRANSFER,
        client_id=batch.client_id,
        amount=item.amount,
        workflow_id=item.workflow_id,
        effective_at=batch.effective_at,
        idempotency=item.key,
        source_wallet_id=batch.sender_id,
        destination_wallet_id=item.receiver_id,
        memo=item.memo,
    )


@dataclass(frozen=True)
class PayItem:
    """Begin one transfer of an independent batch, and record what became of it."""

    batch: BatchModel
    index: int

    async def send(self, ledger: LocalLedger) -> Answer:
        """See Ask."""
        payment = self.batch.items[self.index]
        try:
            result = await ledger.begin(payment, Step.SETTLE_TRANSFER)
        except IdempotencyKeyReused as reused:
            await self._record(ledger, reused)
            raise
        await self._record(ledger, result)
        return _outcome(result)

    async def _record(self, ledger: LocalLedger, answer: StepResult | IdempotencyKeyReused) -> None:
        await Batches(ledger.shards).record(self.batch.batch_id, [outcome_of(self.index, answer)])

    def expect(self, model: LedgerModel) -> Answer:
        """See Ask."""
        return model.begin_item(model.batches[self.batch.batch_id], self.index)


@dataclass(frozen=True)
class SettleBatch:
    """Pay all of an atomic batch, or none of it."""

    batch: BatchModel

    async def send(self, ledger: LocalLedger) -> Answer:
        """See Ask."""
        await ledger.settle_batch(self.batch.batch_id)
        found = await Batches(ledger.shards).batch(self.batch.batch_id)
        assert found is not None
        return found.status, found.failed_index, found.failure and found.failure.code, astuple(found.counts)

    def expect(self, model: LedgerModel) -> Answer:
        """See Ask."""
        return model.settle(model.batches[self.batch.batch_id])


@dataclass(frozen=True)
class CloseBatch:
    """Learn how the transfers of an independent batch have ended."""

    batch: BatchModel

    async def send(self, ledger: LocalLedger) -> Answer:
        """See Ask."""
        return astuple(await Batches(ledger.shards).close(self.batch.batch_id))

    def expect(self, model: LedgerModel) -> Answer:
        """See Ask."""
        return model.counts(model.batches[self.batch.batch_id])


@dataclass(frozen=True)
class ExpireHolds:
    """A sweep over all holds whose time has come."""

    async def send(self, ledger: LocalLedger) -> Answer:
        """See Ask."""
        while await ledger.expire_holds(100):
            pass
        return "swept"

    def expect(self, model: LedgerModel) -> Answer:
        """See Ask."""
        for hold in model.holds.values():
            if hold.overdue:
                model.end(hold, HoldStatus.EXPIRED)
        return "swept"


@dataclass(frozen=True)
class MatureDeposits:
    """A sweep over all deposits of which something has waited long enough."""

    async def send(self, ledger: LocalLedger) -> Answer:
        """See Ask."""
        while await ledger.mature_deposits(3):
            pass
        return "swept"

    def expect(self, model: LedgerModel) -> Answer:
        """See Ask."""
        for transaction_id, payment in model.payments.items():
            if payment.deferred and Step.MATURE_DEPOSIT in payment.possible:
                model.take(transaction_id, Step.MATURE_DEPOSIT, None)
        return "swept"


@dataclass(frozen=True)
class Suspend:
    """A line of a bank's statement that is no payment's; met again, it is what was recorded first."""

    line: NewSuspenseItem

    async def send(self, ledger: LocalLedger) -> Answer:
        """See Ask."""
        item = await ledger.suspend(self.line)
        return item.moved, item.cleared_as

    def expect(self, model: LedgerModel) -> Answer:
        """See Ask."""
        return model.suspend(self.line.return_reference, self.line.moved)


@dataclass(frozen=True)
class ClearSuspense:
    """The bank has put one right, or it is a payment's: the first word counts."""

    bank: str
    return_reference: str
    outcome: Clearance

    async def send(self, ledger: LocalLedger) -> Answer:
        """See Ask."""
        item = await ledger.find_suspense(self.bank, self.return_reference)
        if item is None:
            return "not there"
        cleared = await ledger.clear_suspense(
            Clearing(item_id=item.item_id, outcome=self.outcome, by="a test", reason="a test")
        )
        return cleared.moved, cleared.cleared_as

    def expect(self, model: LedgerModel) -> Answer:
        """See Ask."""
        return model.clear(self.return_reference, self.outcome)


@dataclass(frozen=True)
class WriteOffDebt:
    """One operator asks for it and another one approves."""

    asked: NewWriteOff

    async def send(self, ledger: LocalLedger) -> Answer:
        """See Ask."""
        asked = await ledger.ask_write_off(self.asked)
        return (await ledger.approve_write_off(asked.write_off_id, "operator:john", "a test")).written_off

    def expect(self, model: LedgerModel) -> Answer:
        """See Ask."""
        return model.write_off(self.asked.wallet_id, self.asked.minor_units)


ALONE = (CloseBatch, ExpireHolds, MatureDeposits, WriteOffDebt)
"""What asks for several things one after the other, so that it has no place of its own among calls that race."""
