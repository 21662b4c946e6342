"""Payments as the API hands them to the ledger: ids, digests and fingerprints made the way a client's call would."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import uuid4

from domain.contracts.payments import Failure, IdempotencyRecord, PaymentRequest, ReturnNotice, StepCommand, StepResult
from domain.contracts.wallets import ChangeKind, WalletChange
from domain.contracts.workflows import payment_workflow_id
from domain.ids import BUCKETS, BankAccountId, ClientId, TransactionId, UserId, WalletId, random_bucket
from domain.money import Money
from domain.transactions import Step, TransactionKind
from ledger.service import LedgerService, Wallet

BANK = "simulated"
REFUSED_BY_BANK = Failure(code="bank_refused", detail="The bank refused: account_closed.")


async def change_wallet(ledger: LedgerService, wallet: WalletId, kind: ChangeKind, **what: Any) -> Wallet:
    """The wallet after a change of its rules; `what` are further fields of WalletChange."""
    changed = await ledger.change_wallet(wallet, WalletChange(kind=kind, by="tests", reason="a test", **what))
    return changed.wallet


@dataclass
class Client:
    """One app with wallets. Every call without `key` is a new request; with the same `key` it is the same one again."""

    ledger: LedgerService
    client_id: ClientId = field(default_factory=lambda: ClientId.new(0))
    bank: str = BANK

    async def open_wallet(self, balance: int = 0, currency: str = "USD", *, shard: int | None = None) -> WalletId:
        """A wallet with `balance` minor units, deposited from the bank and settled; on this shard of two, or on any."""
        bucket = random_bucket()
        user_id = UserId.new(bucket if shard is None else (bucket + shard * BUCKETS) // 2)
        wallet_id = WalletId.new(user_id.bucket)
        await self.ledger.open_wallet(wallet_id, user_id, self.client_id, currency)
        if balance:
            await self.deposit(wallet_id, balance, currency=currency)
        return wallet_id

    def request(
        self,
        kind: TransactionKind,
        amount: int,
        *,
        source: WalletId | None = None,
        destination: WalletId | None = None,
        currency: str = "USD",
        key: str | None = None,
        body: str | None = None,
    ) -> PaymentRequest:
        """What the API would make of a body. `body` stands for what was sent, if the rest does not say it."""
        wallet = source or destination
        assert wallet is not None
        key = key or uuid4().hex
        sent = body or f"{kind} {amount} {currency} {source} {destination}"
        by_bank = kind is not TransactionKind.TRANSFER
        return PaymentRequest(
            transaction_id=TransactionId.new(wallet.bucket),
            kind=kind,
            client_id=self.client_id,
            amount=Money(amount, currency),
            workflow_id=payment_workflow_id(self.client_id, wallet, key),
            effective_at=datetime.now(UTC),
            idempotency=IdempotencyRecord(
                key_digest=sha256(f"{self.client_id}:{wallet}:{key}".encode()).hexdigest()[:32],
                fingerprint=sha256(sent.encode()).hexdigest(),
            ),
            source_wallet_id=source,
            destination_wallet_id=destination,
            bank_account_id=BankAccountId.new(wallet.bucket) if by_bank else None,
            bank=self.bank if by_bank else None,
        )

    async def transfer(
        self, source: WalletId, destination: WalletId, amount: int, key: str | None = None
    ) -> StepResult:
        """Pay another wallet."""
        asked = self.request(TransactionKind.TRANSFER, amount, source=source, destination=destination, key=key)
        return await self.ledger.begin(asked, Step.SETTLE_TRANSFER)

    async def begin_deposit(
        self, wallet: WalletId, amount: int, *, currency: str = "USD", key: str | None = None
    ) -> StepResult:
        """Record a deposit."""
        asked = self.request(TransactionKind.DEPOSIT, amount, destination=wallet, currency=currency, key=key)
        return await self.ledger.begin(asked, Step.RECORD_DEPOSIT)

    async def begin_withdrawal(self, wallet: WalletId, amount: int, key: str | None = None) -> StepResult:
        """Hold the money of a withdrawal."""
        asked = self.request(TransactionKind.WITHDRAWAL, amount, source=wallet, key=key)
        return await self.ledger.begin(asked, Step.HOLD_WITHDRAWAL)

    async def take(self, begun: StepResult | TransactionId, *steps: Step, failure: Failure | None = None) -> StepResult:
        """Later steps, in order; the result of the last."""
        transaction_id = begun.transaction_id if isinstance(begun, StepResult) else begun
        for step in steps:
            result = await self.ledger.take_step(StepCommand(transaction_id=transaction_id, step=step, failure=failure))
        return result

    async def take_back(self, begun: StepResult, step: Step, notice: ReturnNotice | None = None) -> StepResult:
        """A bank's return of a settled payment."""
        notice = notice or ReturnNotice(reference=uuid4().hex, code="R10", detail="not authorised")
        command = StepCommand(transaction_id=begun.transaction_id, step=step, notice=notice)
        return await self.ledger.take_step(command)

    async def deposit(self, wallet: WalletId, amount: int, *, currency: str = "USD") -> StepResult:
        """A whole deposit."""
        begun = await self.begin_deposit(wallet, amount, currency=currency)
        return await self.take(begun, Step.CREDIT_DEPOSIT, Step.SETTLE_DEPOSIT)

    async def withdraw(self, wallet: WalletId, amount: int) -> StepResult:
        """A whole withdrawal."""
        begun = await self.begin_withdrawal(wallet, amount)
        return await self.take(begun, Step.CAPTURE_WITHDRAWAL, Step.SETTLE_WITHDRAWAL)

    async def wallet(self, wallet_id: WalletId) -> Wallet:
        """The wallet, which must exist."""
        found = await self.ledger.wallet(wallet_id)
        assert found is not None
        return found

    async def money(self, wallet_id: WalletId) -> tuple[int, int]:
        """Posted and held, in minor units."""
        found = await self.wallet(wallet_id)
        return found.posted, found.held


def again(request: PaymentRequest) -> PaymentRequest:
    """The same call once more: the same key and body, and a new proposal for the transaction's id."""
    return replace(request, transaction_id=TransactionId.new(request.transaction_id.bucket))
