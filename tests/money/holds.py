"""Clients' holds as the API hands them to the ledger."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final
from uuid import UUID, uuid4

from domain.contracts.holds import HoldRequest
from domain.contracts.payments import IdempotencyRecord, PaymentRequest, StepResult
from domain.holds import HoldStatus
from domain.ids import HoldId, WalletId
from domain.money import Money
from domain.transactions import Step, TransactionKind
from ledger.service import Hold
from tests.money.requests import Client

HOUR = timedelta(hours=1)


def hold_request(
    client: Client,
    wallet: WalletId,
    amount: int,
    *,
    currency: str = "USD",
    life: timedelta = HOUR,
    key: str | None = None,
) -> HoldRequest:
    """What the API would make of a body. A `life` below zero is a hold whose time is over from its beginning."""
    key, now = key or uuid4().hex, datetime.now(UTC)
    return HoldRequest(
        hold_id=HoldId.new(wallet.bucket),
        client_id=client.client_id,
        wallet_id=wallet,
        amount=Money(amount, currency),
        effective_at=now,
        expires_at=now + life,
        idempotency=IdempotencyRecord(
            key_digest=sha256(f"{client.client_id}:{wallet}:{key}".encode()).hexdigest()[:32],
            fingerprint=sha256(f"hold {amount} {currency} {life}".encode()).hexdigest(),
        ),
        memo="a table for two",
    )


async def place(client: Client, wallet: WalletId, amount: int, *, life: timedelta = HOUR) -> Hold:
    """A hold that is new, and as it was answered."""
    accepted = await client.ledger.place_hold(hold_request(client, wallet, amount, life=life))
    assert not accepted.replayed
    return accepted.hold


def capture_request(
    client: Client,
    hold: Hold,
    receiver: WalletId,
    amount: int,
    *,
    rest: bool = False,
    key: str | None = None,
    late: timedelta = timedelta(),
) -> PaymentRequest:
    """A transfer that names the hold; with `rest` what remains is released. Asked for so much `late`r than now."""
    asked = client.request(
        TransactionKind.TRANSFER,
        amount,
        source=hold.wallet_id,
        destination=receiver,
        currency=hold.amount.currency,
        key=key,
        body=f"capture {hold.hold_id} {amount} {receiver} {rest}",
    )
    return replace(asked, hold_id=hold.hold_id, releases_rest=rest, effective_at=asked.effective_at + late)


async def capture(
    client: Client, hold: Hold, receiver: WalletId, amount: int, *, rest: bool = False, late: timedelta = timedelta()
) -> StepResult:
    """Pay somebody from a hold."""
    asked = capture_request(client, hold, receiver, amount, rest=rest, late=late)
    return await client.ledger.begin(asked, Step.CAPTURE_HOLD)


async def standing(client: Client, hold: Hold) -> tuple[HoldStatus, int, int]:
    """Status, captured and remaining, as the ledger has them."""
    found = await client.ledger.hold(hold.hold_id)
    assert found is not None
    return found.status, found.captured, found.remaining


HOLDER: Final = 1_000
"""Deposited by whoever holds in every way, in minor units."""


async def hold_in_every_way(client: Client) -> dict[str, UUID]:
    """A hold in every state, by what it is called in `tests.money.corruptions`, and a capture of one."""
    wallet, receiver = await client.open_wallet(HOLDER), await client.open_wallet()
    partly, whole, rest = [await place(client, wallet, amount) for amount in (100, 50, 60)]
    released, expired = await place(client, wallet, 40), await place(client, wallet, 30, life=-HOUR)
    taken = await capture(client, partly, receiver, 30)
    await capture(client, partly, receiver, 71)
    await capture(client, whole, receiver, 50)
    await capture(client, rest, receiver, 20, rest=True)
    await client.ledger.release_hold(released.hold_id)
    assert await client.ledger.expire_holds(10) == 1
    failed = await place(client, wallet, HOLDER)
    found = {"partly captured": partly, "captured": whole, "released": released, "expired": expired, "failed": failed}
    return {f"{what} hold": hold.hold_id.uuid for what, hold in found.items()} | {"capture": taken.transaction_id.uuid}
