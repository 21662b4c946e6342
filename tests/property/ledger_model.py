"""The ledger as a dictionary: what a few lines of Python say about payments, to compare the real one with."""

from dataclasses import dataclass, field, replace
from typing import Self

from domain.batches import BatchStatus
from domain.contracts.payments import IdempotencyRecord, PaymentRequest
from domain.contracts.suspense import Clearance
from domain.contracts.wallets import ChangeKind, WalletChange
from domain.holds import HoldStatus
from domain.ids import BatchId, HoldId, TransactionId, WalletId
from domain.rails import Rail
from domain.transactions import Step, TransactionKind, TransactionStatus
from tests.property.payment_model import (
    AT_ONCE,
    FAILING,
    KEY_REUSED,
    POSTED,
    REFUSED,
    RETURNING,
    Answer,
    BatchModel,
    HoldModel,
    Outcome,
    PaymentModel,
)
from tests.property.wallet_model import Standing, WalletModel, day_of, shard_of

MOVES_MONEY = (
    *(Step.SETTLE_TRANSFER, Step.SEND_TRANSFER, Step.REVERSE_TRANSFER, Step.CAPTURE_HOLD),
    *(Step.CREDIT_DEPOSIT, Step.CAPTURE_WITHDRAWAL, *RETURNING),
)
"""The steps that post to wallets."""


@dataclass
class LedgerModel:
    """Everything. What `keys` stand for is an id, with the fingerprint of the request that used the key first."""

    wallets: dict[WalletId, WalletModel] = field(default_factory=dict)
    payments: dict[TransactionId, PaymentModel] = field(default_factory=dict)
    holds: dict[HoldId, HoldModel] = field(default_factory=dict)
    batches: dict[BatchId, BatchModel] = field(default_factory=dict)
    keys: dict[str, tuple[str, TransactionId | HoldId | BatchId]] = field(default_factory=dict)
    suspense: dict[str, tuple[int, Clearance | None]] = field(default_factory=dict)
    clearing: int = 0
    at_bank: int = 0
    lost: int = 0

    def copy(self) -> Self:
        """Another one, to try something with."""
        return replace(
            self,
            wallets={wallet: replace(model) for wallet, model in self.wallets.items()},
            payments={name: replace(model, steps=list(model.steps)) for name, model in self.payments.items()},
            holds={name: replace(model) for name, model in self.holds.items()},
            batches={name: replace(model, begun=dict(model.begun)) for name, model in self.batches.items()},
            keys=dict(self.keys),
            suspense=dict(self.suspense),
        )

    @property
    def standings(self) -> dict[WalletId, Standing]:
        """How every wallet stands."""
        return {wallet: model.standing for wallet, model in self.wallets.items()}

    def claim(self, key: IdempotencyRecord, owner: TransactionId | HoldId | BatchId) -> object:
        """What the key stands for, `owner` if it is new; None if it was used for another request."""
        fingerprint, found = self.keys.setdefault(key.key_digest, (key.fingerprint, owner))
        return found if fingerprint == key.fingerprint else None

    # -- payments ------------------------------------------------------------------------------------

    def begin(self, request: PaymentRequest, refusal: str | None = None) -> Outcome | str:
        """A payment under its key: its first step, or what became of it before; `refusal` is a batch's."""
        assert request.idempotency is not None
        owner = self.claim(request.idempotency, request.transaction_id)
        if not isinstance(owner, TransactionId):
            return KEY_REUSED
        if owner in self.payments:
            payment = self.payments[owner]
            return payment.outcome(payment.steps[0], replayed=True)
        step = self._first_step(request)
        payment = PaymentModel(request, [step], refusal or self._refusal(request, step))
        self.payments[owner] = payment
        if payment.refusal is None:
            self._effect(payment, step)
        return payment.outcome(step, replayed=False)

    def take(self, transaction_id: TransactionId, step: Step, reason: str | None) -> Outcome | str:
        """A later step, or what became of it before; `reason` is what one says that ends the payment unpaid."""
        payment = self.payments[transaction_id]
        replayed = step in payment.steps
        if not replayed and (step not in payment.possible or self._has_no_place(payment, step)):
            return "ledger_rejected"
        if not replayed:
            payment.steps.append(step)
            payment.reason = reason if step in FAILING else None
            self._effect(payment, step)
        return payment.outcome(step, replayed=replayed)

    def receive(self, transaction_id: TransactionId, failure: str | None) -> Outcome:
        """What the receiver's shard makes of a transfer that was sent; for ever what it was first."""
        payment = self.payments[transaction_id]
        assert payment.sent, "nobody receives what was not sent"
        if payment.received is not None:
            return payment.received._replace(replayed=True)
        receiver = self._wallet(payment.request.destination_wallet_id)
        refusal = failure or receiver.bars_credits()
        payment.received = Outcome(
            transaction_id,
            Step.RECEIVE_TRANSFER,
            REFUSED if refusal else POSTED,
            TransactionStatus.PROCESSING,
            refusal,
            replayed=False,
        )
        if refusal is None:
            receiver.move(payment.request.amount.minor_units)
            receiver.pay_debt()
        return payment.received

    def _has_no_place(self, payment: PaymentModel, step: Step) -> bool:
        """Whether a payment comes back to a wallet that is closed."""
        return step is Step.RETURN_WITHDRAWAL and self._wallet(payment.request.source_wallet_id).closed

    def _wallet(self, wallet: WalletId | None) -> WalletModel:
        assert wallet is not None
        return self.wallets[wallet]

    def _first_step(self, request: PaymentRequest) -> Step:
        if request.kind is TransactionKind.DEPOSIT:
            return Step.RECORD_DEPOSIT
        if request.kind is TransactionKind.WITHDRAWAL:
            return Step.HOLD_WITHDRAWAL
        assert request.source_wallet_id is not None
        assert request.destination_wallet_id is not None
        if shard_of(request.source_wallet_id) != shard_of(request.destination_wallet_id):
            return Step.SEND_TRANSFER
        return Step.SETTLE_TRANSFER if request.hold_id is None else Step.CAPTURE_HOLD

    def _refusal(self, request: PaymentRequest, step: Step) -> str | None:
        source, destination, amount = request.source_wallet_id, request.destination_wallet_id, request.amount
        barred = self.wallets[source].bars_debits() if source else None
        if destination and step is not Step.SEND_TRANSFER:
            barred = barred or self.wallets[destination].bars_credits()
        if barred or source is None:
            return barred
        if request.hold_id is None:
            return self.wallets[source].lacks(amount.minor_units, day_of(request.effective_at))
        hold = self.holds[request.hold_id]
        if hold.status is not HoldStatus.ACTIVE or hold.overdue:
            return "hold_ended"
        return "hold_exceeded" if amount.minor_units > hold.remaining else None

    def _effect(self, payment: PaymentModel, step: Step) -> None:
        request, amount = payment.request, payment.request.amount.minor_units
        source, destination = request.source_wallet_id, request.destination_wallet_id
        captures = request.hold_id is not None
        if request.hold_id is not None and step in (Step.CAPTURE_HOLD, Step.SEND_TRANSFER):
            self._capture(self.holds[request.hold_id], amount, rest=request.releases_rest)
        if step in (Step.SETTLE_TRANSFER, Step.SEND_TRANSFER, Step.HOLD_WITHDRAWAL) and not captures:
            self._wallet(source).spend(amount, payment.day)
        if step in (Step.SETTLE_TRANSFER, Step.SEND_TRANSFER, Step.CAPTURE_HOLD, Step.CAPTURE_WITHDRAWAL):
            self._wallet(source).move(-amount)
        if step in (Step.SETTLE_TRANSFER, Step.CAPTURE_HOLD, Step.CREDIT_DEPOSIT):
            self._wallet(destination).move(amount)
        if step in (Step.REVERSE_TRANSFER, Step.RETURN_WITHDRAWAL):
            self._wallet(source).move(amount)
        if step in (Step.MATURE_DEPOSIT, Step.RETURN_DEPOSIT):
            self._end_deferral(payment, owed=amount if step is Step.RETURN_DEPOSIT else 0)
        if step in (Step.HOLD_WITHDRAWAL, Step.CAPTURE_WITHDRAWAL, Step.RELEASE_WITHDRAWAL):
            self._wallet(source).held += amount if step is Step.HOLD_WITHDRAWAL else -amount
        if step in (Step.REVERSE_TRANSFER, Step.RELEASE_WITHDRAWAL) and not captures:
            self._wallet(source).give_back(amount, payment.day)
        if step in MOVES_MONEY:
            for wallet in (source, destination):
                if wallet in self.wallets and shard_of(wallet) == shard_of(request.transaction_id):
                    self._wallet(wallet).pay_debt()
        self._at_the_bank(payment, step, amount if request.kind is TransactionKind.DEPOSIT else -amount)

    def _defer(self, payment: PaymentModel) -> None:
        wallet = self._wallet(payment.request.destination_wallet_id)
        if Rail.ACH in payment.request.rails:
            waits = payment.request.amount.minor_units - AT_ONCE
            payment.deferred = max(0, min(waits, wallet.posted - wallet.held))
            wallet.held += payment.deferred

    def _end_deferral(self, payment: PaymentModel, owed: int) -> None:
        wallet = self._wallet(payment.request.destination_wallet_id)
        wallet.held -= payment.deferred
        wallet.owed += owed
        payment.deferred = 0

    def _at_the_bank(self, payment: PaymentModel, step: Step, amount: int) -> None:
        if step is Step.CREDIT_DEPOSIT:
            self._defer(payment)
        if step in (Step.CREDIT_DEPOSIT, Step.CAPTURE_WITHDRAWAL):
            self.clearing += amount
        if step in (Step.SETTLE_DEPOSIT, Step.SETTLE_WITHDRAWAL):
            self.clearing -= amount
            self.at_bank += amount
        if step in RETURNING:
            self.at_bank -= amount

    # -- holds ---------------------------------------------------------------------------------------

    def place(self, key: IdempotencyRecord, hold_id: HoldId, hold: HoldModel) -> Answer:
        """A hold under its key, as it is now, and whether it was there before."""
        owner = self.claim(key, hold_id)
        if not isinstance(owner, HoldId):
            return KEY_REUSED
        if owner in self.holds:
            return owner, *self.holds[owner].standing, True
        wallet = self.wallets[hold.wallet]
        refusal = wallet.bars_debits() or wallet.lacks(hold.amount, hold.day)
        self.holds[owner] = replace(hold, refusal=refusal, status=HoldStatus.FAILED if refusal else HoldStatus.ACTIVE)
        if refusal is None:
            wallet.held += hold.amount
            wallet.spend(hold.amount, hold.day)
        return owner, *self.holds[owner].standing, False

    def end(self, hold: HoldModel, status: HoldStatus) -> None:
        """What remains goes back, unless the hold has ended."""
        if hold.status is HoldStatus.ACTIVE:
            self.wallets[hold.wallet].held -= hold.remaining
            self.wallets[hold.wallet].give_back(hold.remaining, hold.day)
            hold.status = status

    def _capture(self, hold: HoldModel, amount: int, *, rest: bool) -> None:
        wallet, before = self.wallets[hold.wallet], hold.remaining
        hold.captured += amount
        if rest or hold.captured == hold.amount:
            hold.status = HoldStatus.CAPTURED
        wallet.held -= before - hold.remaining
        wallet.give_back(before - hold.remaining - amount, hold.day)

    # -- rules ---------------------------------------------------------------------------------------

    def change(self, wallet_id: WalletId, change: WalletChange) -> Answer:
        """What an operator wants of a wallet, and the wallet after it."""
        wallet = self.wallets[wallet_id]
        if wallet.closed and change.kind is not ChangeKind.CLOSE:
            return "cannot_change_wallet"
        if wallet.closed:
            return wallet.standing
        if change.kind is ChangeKind.CLOSE:
            if wallet.posted or wallet.held or wallet.owed or self._is_under_way(wallet_id):
                return "wallet_in_use"
            wallet.close()
        elif change.kind is ChangeKind.LIMIT:
            wallet.limits = change.limits
        else:
            wallet.freeze(change.kind is ChangeKind.FREEZE, debits=change.debits, credits=change.credits)
        return wallet.standing

    def _is_under_way(self, wallet_id: WalletId) -> bool:
        """Whether a payment that is recorded on the wallet's shard is yet to end."""
        return any(
            payment.status is TransactionStatus.PROCESSING
            and payment.concerns(wallet_id)
            and shard_of(payment.request.transaction_id) == shard_of(wallet_id)
            for payment in self.payments.values()
        )

    # -- what is no payment's ------------------------------------------------------------------------

    def suspend(self, reference: str, moved: int) -> Answer:
        """A line of the bank's statement, by its reference: the first one counts."""
        if reference not in self.suspense:
            self.suspense[reference] = moved, None
            self.at_bank += moved
        return self.suspense[reference]

    def clear(self, reference: str, outcome: Clearance) -> Answer:
        """It is put right, or a payment's after all: the first word counts."""
        if reference not in self.suspense:
            return "not there"
        moved, cleared_as = self.suspense[reference]
        if cleared_as is None:
            self.suspense[reference] = moved, outcome
            self.at_bank -= moved
        return self.suspense[reference]

    def write_off(self, wallet_id: WalletId, minor_units: int | None) -> Answer:
        """At most what is owed."""
        wallet = self.wallets[wallet_id]
        amount = wallet.owed if minor_units is None else minor_units
        if not 0 < amount <= wallet.owed:
            return "cannot_write_off"
        wallet.owed -= amount
        self.lost += amount
        return amount

    # -- batches -------------------------------------------------------------------------------------

    def accept(self, key: IdempotencyRecord, batch: BatchModel) -> Answer:
        """A batch under its key, and whether it was there before."""
        owner = self.claim(key, batch.batch_id)
        if not isinstance(owner, BatchId):
            return KEY_REUSED
        return owner, self.batches.setdefault(owner, batch) is not batch

    def begin_item(self, batch: BatchModel, index: int) -> Answer:
        """One transfer of an independent batch."""
        answer = self.begin(batch.items[index])
        batch.begun.setdefault(index, answer.transaction_id if isinstance(answer, Outcome) else answer)
        return answer

    def settle(self, batch: BatchModel) -> Answer:
        """All of an atomic batch, or none of it; once. With how it stands then."""
        if not batch.status.final:
            self._settle(batch)
        return batch.status, batch.failed_index, batch.failure, self.counts(batch)

    def _settle(self, batch: BatchModel) -> None:
        trial = self.copy()
        failures = [_failure_in(trial.begin(item)) for item in batch.items]
        batch.failed_index = next((index for index, failure in enumerate(failures) if failure), None)
        batch.status = BatchStatus.COMPLETED if batch.failed_index is None else BatchStatus.FAILED
        for index, item in enumerate(batch.items):
            if batch.failed_index is None:
                self.begin_item(batch, index)
                continue
            refusal = failures[index] if index == batch.failed_index else "batch_refused"
            answer = self.begin(item, refusal)
            batch.begun[index] = answer if isinstance(answer, str) else answer.transaction_id
        if batch.failed_index is not None:
            batch.failure = failures[batch.failed_index]

    def counts(self, batch: BatchModel) -> tuple[int, int, int, int]:
        """How many of its transfers are pending, processing, succeeded and failed."""
        stands = [
            TransactionStatus.FAILED if became == KEY_REUSED else self._status(became)
            for became in batch.begun.values()
        ]
        wanted = (TransactionStatus.PROCESSING, TransactionStatus.SUCCEEDED, TransactionStatus.FAILED)
        processing, succeeded, failed = map(stands.count, wanted)
        return len(batch.items) - len(stands), processing, succeeded, failed

    def _status(self, became: TransactionId | str) -> TransactionStatus:
        assert isinstance(became, TransactionId)
        return self.payments[became].status


def _failure_in(answer: Outcome | str) -> str | None:
    return answer if isinstance(answer, str) else answer.failure
