"""One payment of a sender at a time: sheds a stampede, and protects nothing; the account's version does."""

from api.express import Starter
from api.metrics import TURNS
from domain.contracts.payments import PaymentRequest, PaymentResult
from domain.errors import WalletBusy
from infra.redis import Cache
from infra.settings import Settings


class OneAtATime:
    """Lets one debit of a wallet into `lane` and the others wait. Without Redis nobody waits."""

    def __init__(self, settings: Settings, cache: Cache, lane: Starter) -> None:
        self._wait_seconds = settings.sender_lock_wait_seconds
        # Of a process that dies with it, the lock is free again when nobody waits for that payment's answer any more.
        self._hold_seconds = settings.accept_timeout_seconds
        self._cache = cache
        self._lane = lane

    async def accept(self, request: PaymentRequest) -> PaymentResult:
        """See Starter. Raises WalletBusy for one that has waited too long; it has not been begun here."""
        if request.source_wallet_id is None:
            return await self._lane.accept(request)
        name = f"sender:{request.source_wallet_id}"
        async with self._cache.turn(name, hold_seconds=self._hold_seconds, wait_seconds=self._wait_seconds) as mine:
            TURNS.labels("taken" if mine else "shed").inc()
            if not mine:
                raise WalletBusy
            return await self._lane.accept(request)
