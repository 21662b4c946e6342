"""Holding money for later: placed, captured by transfers, released. The ledger decides; here ids become wallets."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from api.acceptance import Acceptance, Accepted, Intent
from api.idempotency import ScopedKey, fingerprint_of, record_of
from api.parties import Parties
from api.rate_limits import RateLimits
from api.schemas import CaptureBody, HoldBody
from api.security import Caller
from domain.clock import Clock
from domain.contracts.holds import HoldRequest
from domain.contracts.payments import IdempotencyRecord
from domain.errors import CannotRelease, InvalidRequest, NotFound, SelfTransfer
from domain.holds import DEFAULT_LIFE, LONGEST_LIFE, HoldStatus
from domain.ids import ClientId, HoldId
from domain.money import Money
from domain.transactions import TransactionKind
from infra.telemetry import trace
from ledger.service import AcceptedHold, Hold, LedgerService

HOLDS: Final = "/v1/holds"


@dataclass(frozen=True, slots=True)
class Holding:
    """Needs the ledger to hold, and the way of all payments to capture."""

    ledger: LedgerService
    parties: Parties
    acceptance: Acceptance
    rate_limits: RateLimits
    clock: Clock

    async def place(self, client_id: ClientId, key: str, body: HoldBody) -> AcceptedHold:
        """The recorded hold. Raises NotFound, RateLimited, InvalidRequest for a time that has passed, and
        IdempotencyKeyReused."""
        (owner,) = await self.parties.resolve(client_id, body.wallet_id)
        await self.rate_limits.count_wallet(owner.wallet_id)
        record = record_of(client_id, owner.wallet_id, key, fingerprint_of(HOLDS, body))
        now = self.clock.now()
        request = HoldRequest(
            hold_id=HoldId.new(owner.wallet_id.bucket),
            client_id=client_id,
            wallet_id=owner.wallet_id,
            amount=body.money,
            effective_at=now,
            expires_at=await self._expires_at(body, now, record),
            idempotency=record,
            memo=body.memo,
            trace=trace.get(),
        )
        return await self.ledger.place_hold(request)

    async def _expires_at(self, body: HoldBody, now: datetime, record: IdempotencyRecord) -> datetime:
        wanted = body.expires_at
        if wanted is None:
            return now + (DEFAULT_LIFE if body.life is None else body.life)
        if wanted > now + LONGEST_LIFE:
            raise InvalidRequest(f"expires_at: wants a time at most {LONGEST_LIFE.days} days from now")
        # The same call comes again when its time has passed, and gets its answer.
        if wanted <= now and await self.ledger.find_key(record.key_digest, near=body.wallet_id) is None:
            raise InvalidRequest("expires_at: wants a time in the future")
        return wanted

    async def capture(self, client_id: ClientId, hold_id: HoldId, key: str, body: CaptureBody) -> Accepted:
        """The transfer that takes from a hold; without an amount, of all that remains at this moment.

        Raises NotFound, SelfTransfer, and what accepting a payment raises.
        """
        hold = await self.ledger.hold(hold_id)
        if hold is None or hold.client_id != client_id:
            raise NotFound
        (receiver,) = await self.parties.resolve(client_id, body.receiver_id)
        if hold.wallet_id == receiver.wallet_id:
            raise SelfTransfer
        # What has ended is refused by the ledger, which records that under the key; any amount will do.
        amount = body.amount or hold.remaining or hold.amount.minor_units
        route = f"{HOLDS}/{hold_id}/captures"
        intent = Intent(
            key=ScopedKey(client_id, hold.wallet_id, key),
            record=record_of(client_id, hold.wallet_id, key, fingerprint_of(route, body)),
            kind=TransactionKind.TRANSFER,
            amount=Money(amount, hold.amount.currency),
            source=hold.wallet_id,
            destination=receiver.wallet_id,
            memo=body.memo,
            hold_id=hold_id,
            releases_rest=body.final,
        )
        return await self.acceptance.accept(intent)

    async def release(self, caller: Caller, hold_id: HoldId) -> Hold:
        """The hold, released now or before. Raises NotFound, and CannotRelease where it has ended otherwise."""
        await self.visible(caller, hold_id)
        released = await self.ledger.release_hold(hold_id)
        if released.status is not HoldStatus.RELEASED:
            raise CannotRelease(f"The hold is {released.status}.")
        return released

    async def visible(self, caller: Caller, hold_id: HoldId) -> Hold:
        """A hold that the caller may see. Raises NotFound."""
        found = await self.ledger.hold(hold_id)
        if found is None:
            raise NotFound
        caller.demand_sight(found.client_id)
        return found
