"""The ledger as a dictionary: what a few lines of Python say about payments, to compare the real one with."""

from dataclasses import dataclass, field

from domain.contracts.payments import PaymentRequest
from domain.holds import HoldStatus
from domain.ids import HoldId, WalletId
from domain.transactions import Step, TransactionKind, TransactionStatus

FAILING = (Step.FAIL_DEPOSIT, Step.RELEASE_WITHDRAWAL)
FOLLOWING = {
    Step.SETTLE_TRANSFER: (),
    Step.CAPTURE_HOLD: (),
    Step.RECORD_DEPOSIT: (Step.CREDIT_DEPOSIT, Step.FAIL_DEPOSIT),
    Step.CREDIT_DEPOSIT: (Step.SETTLE_DEPOSIT,),
    Step.SETTLE_DEPOSIT: (),
    Step.FAIL_DEPOSIT: (),
    Step.HOLD_WITHDRAWAL: (Step.CAPTURE_WITHDRAWAL, Step.RELEASE_WITHDRAWAL),
    Step.CAPTURE_WITHDRAWAL: (Step.SETTLE_WITHDRAWAL,),
    Step.SETTLE_WITHDRAWAL: (),
    Step.RELEASE_WITHDRAWAL: (),
}
"""Written out, not read from ledger/rules.py: a model that asks what it models proves nothing."""


@dataclass
class WalletModel:
    """A wallet. Amounts are minor units."""

    posted: int = 0
    held: int = 0
    frozen: bool = False
    entries: int = 0

    @property
    def available(self) -> int:
        """What can be spent."""
        return self.posted - self.held

    def move(self, amount: int) -> None:
        """One entry."""
        self.posted += amount
        self.entries += 1


@dataclass
class PaymentModel:
    """A payment: its request, and the steps it took, or why it was refused."""

    request: PaymentRequest
    steps: list[Step]
    refusal: str | None = None

    @property
    def status(self) -> TransactionStatus:
        """Where it stands."""
        if self.refusal or self.steps[-1] in FAILING:
            return TransactionStatus.FAILED
        return TransactionStatus.PROCESSING if FOLLOWING[self.steps[-1]] else TransactionStatus.SUCCEEDED

    @property
    def possible(self) -> tuple[Step, ...]:
        """The steps that may come next."""
        return () if self.refusal else FOLLOWING[self.steps[-1]]


@dataclass
class HoldModel:
    """A client's hold. An `overdue` one was to expire before anybody could capture it."""

    wallet: WalletId
    amount: int
    overdue: bool
    status: HoldStatus
    captured: int = 0

    @property
    def remaining(self) -> int:
        """What is still held."""
        return self.amount - self.captured if self.status is HoldStatus.ACTIVE else 0


@dataclass
class LedgerModel:
    """Everything."""

    wallets: dict[WalletId, WalletModel] = field(default_factory=dict)
    payments: list[PaymentModel] = field(default_factory=list)
    holds: dict[HoldId, HoldModel] = field(default_factory=dict)
    clearing: int = 0
    at_bank: int = 0

    def _refusal(self, request: PaymentRequest) -> str | None:
        source, destination = request.source_wallet_id, request.destination_wallet_id
        if any(self.wallets[wallet].frozen for wallet in (source, destination) if wallet is not None):
            return "wallet_frozen"
        if request.hold_id is not None:
            hold = self.holds[request.hold_id]
            if hold.status is not HoldStatus.ACTIVE or hold.overdue:
                return "hold_ended"
            return "hold_exceeded" if request.amount.minor_units > hold.remaining else None
        if source is not None and self.wallets[source].available < request.amount.minor_units:
            return "insufficient_funds"
        return None

    def begin(self, request: PaymentRequest, step: Step) -> PaymentModel:
        """A new payment and its first step."""
        payment = PaymentModel(request, [step], self._refusal(request))
        self.payments.append(payment)
        if payment.refusal is None:
            self._effect(request, step)
        return payment

    def place(self, hold_id: HoldId, wallet: WalletId, amount: int, *, overdue: bool) -> str | None:
        """A new hold; why it failed, if it did."""
        found, refusal = self.wallets[wallet], None
        if found.frozen:
            refusal = "wallet_frozen"
        elif found.available < amount:
            refusal = "insufficient_funds"
        self.holds[hold_id] = HoldModel(wallet, amount, overdue, HoldStatus.FAILED if refusal else HoldStatus.ACTIVE)
        found.held += self.holds[hold_id].remaining
        return refusal

    def end(self, hold: HoldModel, status: HoldStatus) -> None:
        """What remains goes back, unless the hold has ended."""
        if hold.status is HoldStatus.ACTIVE:
            self.wallets[hold.wallet].held -= hold.remaining
            hold.status = status

    def _capture(self, hold: HoldModel, amount: int, *, rest: bool) -> None:
        before = hold.remaining
        hold.captured += amount
        if rest or hold.captured == hold.amount:
            hold.status = HoldStatus.CAPTURED
        self.wallets[hold.wallet].held -= before - hold.remaining

    def take(self, payment: PaymentModel, step: Step) -> None:
        """A later step that is possible."""
        payment.steps.append(step)
        self._effect(payment.request, step)

    def _effect(self, request: PaymentRequest, step: Step) -> None:
        amount, sign = request.amount.minor_units, 1 if request.kind is TransactionKind.DEPOSIT else -1
        source = self.wallets.get(request.source_wallet_id) if request.source_wallet_id else None
        destination = self.wallets.get(request.destination_wallet_id) if request.destination_wallet_id else None
        if request.hold_id is not None:
            self._capture(self.holds[request.hold_id], amount, rest=request.releases_rest)
        if source is not None and step in (Step.SETTLE_TRANSFER, Step.CAPTURE_HOLD, Step.CAPTURE_WITHDRAWAL):
            source.move(-amount)
        if destination is not None and step in (Step.SETTLE_TRANSFER, Step.CAPTURE_HOLD, Step.CREDIT_DEPOSIT):
            destination.move(amount)
        if source is not None and step is Step.HOLD_WITHDRAWAL:
            source.held += amount
        if source is not None and step in (Step.CAPTURE_WITHDRAWAL, Step.RELEASE_WITHDRAWAL):
            source.held -= amount
        if step in (Step.CREDIT_DEPOSIT, Step.CAPTURE_WITHDRAWAL):
            self.clearing += sign * amount
        if step in (Step.SETTLE_DEPOSIT, Step.SETTLE_WITHDRAWAL):
            self.clearing -= sign * amount
            self.at_bank += sign * amount
