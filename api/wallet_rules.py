"""What operators do with wallets: freeze, unfreeze, limit and close them."""

from typing import Final

import structlog
from fastapi import APIRouter, Response

from api.answers import answer
from api.backends import Backends, Reach
from api.idempotency import KeyHeader, demand_key, fingerprint_of, record_of
from api.json_body import JsonRoute
from api.openapi import REPLAYED, WRITES, Responses, problems, success
from api.schemas import CloseBody, LimitsBody, RuleBody, SidesBody
from api.security import Caller, Operator
from api.views import WalletView, view_of_wallet
from domain.contracts.wallets import ChangeKind, WalletChange, WalletLimits
from domain.errors import CannotChangeWallet, IdempotencyKeyReused, NotFound, SagapayError, WalletInUse
from domain.ids import WalletId

router: Final = APIRouter(route_class=JsonRoute, tags=["operators"])
log = structlog.get_logger("api.audit")


def _responses(description: str, *more: type[SagapayError]) -> Responses:
    refusals = (*WRITES, NotFound, IdempotencyKeyReused, CannotChangeWallet, *more)
    return {**success(200, description, REPLAYED), **problems(refusals)}


@router.post(
    "/v1/wallets/{wallet_id}/freeze",
    response_model=WalletView,
    responses=_responses("The wallet is frozen."),
    summary="Freeze a wallet, or one side of it (operators)",
)
async def freeze_wallet(
    wallet_id: WalletId, body: SidesBody, caller: Operator, backends: Reach, key: KeyHeader = None
) -> Response:
    """No new payment takes money from it (`debits`) or brings it any (`credits`).

    What was accepted before goes to its end.
    """
    change = _change(ChangeKind.FREEZE, body, caller, wallet_id, demand_key(key, body))
    return await _apply(backends, wallet_id, change)


@router.post(
    "/v1/wallets/{wallet_id}/unfreeze",
    response_model=WalletView,
    responses=_responses("The wallet, or that side of it, is active."),
    summary="Unfreeze a wallet, or one side of it (operators)",
)
async def unfreeze_wallet(
    wallet_id: WalletId, body: SidesBody, caller: Operator, backends: Reach, key: KeyHeader = None
) -> Response:
    """It pays (`debits`) and is paid (`credits`) again."""
    change = _change(ChangeKind.UNFREEZE, body, caller, wallet_id, demand_key(key, body))
    return await _apply(backends, wallet_id, change)


@router.post(
    "/v1/wallets/{wallet_id}/close",
    response_model=WalletView,
    responses=_responses("The wallet is closed.", WalletInUse),
    summary="Close a wallet for ever (operators)",
)
async def close_wallet(
    wallet_id: WalletId, body: CloseBody, caller: Operator, backends: Reach, key: KeyHeader = None
) -> Response:
    """Only without money, holds and payments under way. A closed wallet is never opened again."""
    change = _change(ChangeKind.CLOSE, body, caller, wallet_id, demand_key(key, body))
    return await _apply(backends, wallet_id, change)


@router.put(
    "/v1/wallets/{wallet_id}/limits",
    response_model=WalletView,
    responses=_responses("These are the wallet's limits."),
    summary="Limit what may leave a wallet (operators)",
)
async def limit_wallet(
    wallet_id: WalletId, body: LimitsBody, caller: Operator, backends: Reach, key: KeyHeader = None
) -> Response:
    """In one payment, and on one day in New York; a limit that is left out is none. Wants no idempotency key."""
    chosen = None if key is None and body.idempotency_key is None else demand_key(key, body)
    return await _apply(backends, wallet_id, _change(ChangeKind.LIMIT, body, caller, wallet_id, chosen))


def _change(kind: ChangeKind, body: RuleBody, caller: Caller, wallet_id: WalletId, key: str | None) -> WalletChange:
    fingerprint = fingerprint_of(f"/v1/wallets/{kind}", body)
    return WalletChange(
        kind=kind,
        by=f"{caller.scope}:{caller.client_id}",
        reason=body.reason,
        debits=body.debits if isinstance(body, SidesBody) else False,
        credits=body.credits if isinstance(body, SidesBody) else False,
        limits=body.limits if isinstance(body, LimitsBody) else WalletLimits(),
        key=record_of(caller.client_id, wallet_id, key, fingerprint) if key is not None else None,
    )


async def _apply(backends: Backends, wallet_id: WalletId, change: WalletChange) -> Response:
    changed = await backends.ledger.change_wallet(wallet_id, change)
    await backends.balances.forget(wallet_id)
    log.info("wallet.changed", wallet_id=wallet_id, kind=change.kind, by=change.by, reason=change.reason)
    return answer(view_of_wallet(changed.wallet), replayed=changed.replayed)
