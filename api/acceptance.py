"""Accepting a payment, once per key, whatever is down. The order of who is asked:

1. Redis, which may remember the key; only ever a shortcut.
2. Temporal, which runs the payment under an id made of the key; ten callers at once share one run. In the express
   lane a transfer asks the ledger instead (api/express.py), which takes the same first step under the same key.
3. The ledger, which keeps the key for ever and has the last word.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from api.express import Starter
from api.idempotency import ScopedKey, Shortcut
from api.metrics import PAYMENTS, REPLAYS
from api.rate_limits import RateLimits
from api.views import TransactionView, view_of_request, view_of_transaction
from domain.clock import Clock
from domain.contracts.payments import Failure, IdempotencyRecord, PaymentRequest, PaymentResult
from domain.contracts.workflows import payment_workflow_id
from domain.errors import IdempotencyKeyReused, LedgerUnavailable, NotRecordedYet, Unavailable
from domain.ids import BankAccountId, HoldId, TransactionId, WalletId
from domain.money import Money
from domain.rails import Rail
from domain.transactions import TransactionKind
from infra.settings import Settings
from infra.telemetry import trace
from ledger.service import LedgerService, RecordedKey

LOOK_AFTER_SECONDS: Final = 1.0
"""A payment that takes longer than this is looked for in the ledger: it may be recorded while its reply is late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A payment that a client asks for, checked and with its ids resolved."""

    key: ScopedKey
    record: IdempotencyRecord
    kind: TransactionKind
    amount: Money
    source: WalletId | None = None
    destination: WalletId | None = None
    bank_account_id: BankAccountId | None = None
    bank: str | None = None
    memo: str | None = None
    hold_id: HoldId | None = None
    releases_rest: bool = False
    rails: tuple[Rail, ...] = ()
    barred: Failure | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to a POST of a payment."""

    view: TransactionView
    replayed: bool


class Acceptance:
    """Accepts payments."""

    def __init__(
        self,
        settings: Settings,
        ledger: LedgerService,
        shortcut: Shortcut,
        starter: Starter,
        *,
        rate_limits: RateLimits,
        clock: Clock,
    ) -> None:
        self._timeout_seconds = settings.accept_timeout_seconds
        self._plan = settings.retry_plan()
        self._ledger = ledger
        self._shortcut = shortcut
        self._starter = starter
        self._rate_limits = rate_limits
        self._clock = clock

    async def accept(self, intent: Intent) -> Accepted:
        """The recorded payment. Raises RateLimited, IdempotencyKeyReused, NotRecordedYet and the other kinds of
        Unavailable.

        No transaction id leaves here before the ledger has recorded it.
        """
        await self._rate_limits.count_wallet(intent.key.wallet_id)
        remembered = await self._shortcut.recall(intent.key)
        if remembered is not None:
            replay = await self._replay(remembered, intent)
            if replay is not None:
                REPLAYS.labels("redis").inc()
                return _counted(replay)
        request = self._request_of(intent)
        outcome = await self._outcome(request, intent)
        if isinstance(outcome, PaymentResult):
            accepted = Accepted(view_of_request(request, outcome), replayed=False)
            recorded = RecordedKey(transaction_id=outcome.transaction_id, fingerprint=intent.record.fingerprint)
        else:
            recorded, accepted = outcome, await self._recorded(outcome, request, intent)
        await self._shortcut.remember(intent.key, recorded)
        return _counted(accepted)

    def _request_of(self, intent: Intent) -> PaymentRequest:
        scope = intent.key.wallet_id
        return PaymentRequest(
            transaction_id=TransactionId.new(scope.bucket),
            kind=intent.kind,
            client_id=intent.key.client_id,
            amount=intent.amount,
            workflow_id=payment_workflow_id(intent.key.client_id, scope, intent.key.key),
            effective_at=self._clock.now(),
            idempotency=intent.record,
            source_wallet_id=intent.source,
            destination_wallet_id=intent.destination,
            bank_account_id=intent.bank_account_id,
            bank=intent.bank,
            memo=intent.memo,
            plan=self._plan,
            hold_id=intent.hold_id,
            releases_rest=intent.releases_rest,
            rails=intent.rails,
            barred=intent.barred,
            trace=trace.get(),
        )

    async def _outcome(self, request: PaymentRequest, intent: Intent) -> PaymentResult | RecordedKey:
        """The lane's answer if this very request was recorded, else what the ledger has under the key."""
        try:
            answer = await self._answer(request, intent)
        except Unavailable as error:
            found = await self._find(intent)
            if found is None:
                raise error from None
            return found
        if isinstance(answer, RecordedKey):
            return answer
        # A run that the sweeper has started knows no fingerprint; the ledger does.
        known = answer.fingerprint
        if known == intent.record.fingerprint and answer.transaction_id == request.transaction_id:
            return answer
        if known is not None:
            return RecordedKey(transaction_id=answer.transaction_id, fingerprint=known)
        found = await self._find(intent)
        if found is None:
            raise NotRecordedYet
        return found

    async def _answer(self, request: PaymentRequest, intent: Intent) -> PaymentResult | RecordedKey:
        attempt = asyncio.create_task(self._starter.accept(request))
        try:
            async with asyncio.timeout(self._timeout_seconds):
                while True:
                    done, _ = await asyncio.wait({attempt}, timeout=LOOK_AFTER_SECONDS)
                    if done:
                        return attempt.result()
                    found = await self._find_if_possible(intent)
                    if found is not None:
                        return found
        except TimeoutError:
            raise NotRecordedYet from None
        finally:
            _abandon(attempt)

    async def _find_if_possible(self, intent: Intent) -> RecordedKey | None:
        try:
            return await self._find(intent)
        except LedgerUnavailable:
            return None

    async def _find(self, intent: Intent) -> RecordedKey | None:
        return await self._ledger.find_key(intent.record.key_digest, near=intent.key.wallet_id)

    async def _recorded(self, recorded: RecordedKey, request: PaymentRequest, intent: Intent) -> Accepted:
        replay = await self._replay(recorded, intent)
        if replay is None:
            raise NotRecordedYet
        if recorded.transaction_id == request.transaction_id:
            return Accepted(replay.view, replayed=False)
        REPLAYS.labels("ledger").inc()
        return replay

    async def _replay(self, recorded: RecordedKey, intent: Intent) -> Accepted | None:
        """The transaction under a key as it is now, None where there is none. Raises IdempotencyKeyReused."""
        if recorded.fingerprint != intent.record.fingerprint:
            raise IdempotencyKeyReused
        transaction = await self._ledger.transaction(recorded.transaction_id)
        if transaction is None or transaction.client_id != intent.key.client_id:
            return None
        return Accepted(view_of_transaction(transaction), replayed=True)


def _abandon(attempt: asyncio.Task[PaymentResult]) -> None:
    """Stop waiting. What was started goes on by itself; its late error interests nobody."""
    attempt.cancel()
    attempt.add_done_callback(lambda task: task.cancelled() or task.exception())


def _counted(accepted: Accepted) -> Accepted:
    PAYMENTS.labels(accepted.view.kind, accepted.view.status).inc()
    return accepted
