"""The preliminary check: a debit that cannot be paid is refused before it costs a workflow.

The cache may only say no, and the ledger is asked whether that is still so. Then it is the ledger's writer that decides
and records, under the same key as in every lane: the refusal is the same for ever. A no that becomes a yes before that
is a payment begun, and goes on in its lane.
"""

from typing import Final

from api.balances import Balances
from api.express import LONGEST_PATIENCE_SECONDS, Starter, first_outcome, result_of
from api.metrics import HOPELESS
from domain.contracts.payments import PaymentRequest, PaymentResult
from domain.errors import DecisionCode, LedgerUnavailable
from domain.ids import WalletId
from domain.transactions import Step, TransactionKind
from infra.settings import Settings
from ledger.service import LedgerService

_FIRST_STEPS: Final = {
    TransactionKind.TRANSFER: Step.SETTLE_TRANSFER,
    TransactionKind.WITHDRAWAL: Step.HOLD_WITHDRAWAL,
}
_CANNOT_PAY: Final = frozenset(
    {
        DecisionCode.INSUFFICIENT_FUNDS,
        DecisionCode.WALLET_OWES,
        DecisionCode.WALLET_FROZEN,
        DecisionCode.WALLET_CLOSED,
    }
)


class HopelessDebits:
    """Records debits of wallets that are known not to have the money, and leaves all others to `lane`."""

    def __init__(self, settings: Settings, ledger: LedgerService, balances: Balances, lane: Starter) -> None:
        self._patience_seconds = min(LONGEST_PATIENCE_SECONDS, settings.accept_timeout_seconds / 2)
        self._steps = dict(_FIRST_STEPS)
        if settings.transfer_lane == "express":
            del self._steps[TransactionKind.TRANSFER]  # That lane starts no workflow for them anyway.
        self._ledger = ledger
        self._balances = balances
        self._lane = lane

    async def accept(self, request: PaymentRequest) -> PaymentResult:
        """See Starter. Raises IdempotencyKeyReused and LedgerBusy."""
        step, source = self._steps.get(request.kind), request.source_wallet_id
        if step is None or source is None or request.hold_id is not None:
            return await self._lane.accept(request)
        if await self._is_hopeless(source, request):
            begun = await first_outcome(self._ledger, request, step, self._patience_seconds)
            if begun is not None and begun.status.final:
                HOPELESS.labels("refused" if begun.failure else "paid").inc()
                return result_of(begun)
            HOPELESS.labels("handed_over").inc()
            return await self._lane.accept(request)
        result = await self._lane.accept(request)
        if result.failure is not None and result.failure.code in _CANNOT_PAY and not result.replayed:
            await self._remember(source)
        return result

    async def _is_hopeless(self, source: WalletId, request: PaymentRequest) -> bool:
        """Whether the cache says no and the ledger, asked once, says so too."""
        wanted = request.amount.minor_units
        known = await self._balances.known(source)
        if known is None or known.spendable >= wanted:
            return False
        try:
            found = await self._balances.look(source, known)
        except LedgerUnavailable:
            return False
        if found is not None and found.spendable < wanted:
            return True
        HOPELESS.labels("hopeful").inc()
        return False

    async def _remember(self, source: WalletId) -> None:
        """Who could not pay may try again at once, and again: what the wallet has is worth knowing."""
        try:
            await self._balances.look(source, None)
        except LedgerUnavailable:
            return
