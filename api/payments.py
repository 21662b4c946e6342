"""POST /v1/transfers, /v1/deposits, /v1/withdrawals."""

from typing import Final

from fastapi import APIRouter, Response

from api.acceptance import Intent
from api.answers import answer
from api.backends import Backends, Reach
from api.idempotency import KeyHeader, ScopedKey, demand_key, fingerprint_of, record_of
from api.json_body import JsonRoute
from api.openapi import LOCATION, PAYMENTS, REPLAYED, TRANSFERS, problems, success
from api.schemas import BankPaymentBody, TransferBody
from api.security import App, Caller
from api.views import TransactionView
from bank_adapters.routing import rails_for
from domain.contracts.payments import Failure
from domain.errors import DecisionCode, NotFound, SelfTransfer
from domain.transactions import TransactionKind

router: Final = APIRouter(route_class=JsonRoute, tags=["payments"])

_ACCEPTED: Final = success(
    202,
    "The payment is recorded. Where it was decided against, `status` is failed and `failure` says why.",
    {**LOCATION, **REPLAYED},
)
_TRANSFERS: Final = "/v1/transfers"
_DEPOSITS: Final = "/v1/deposits"
_WITHDRAWALS: Final = "/v1/withdrawals"


@router.post(
    _TRANSFERS,
    status_code=202,
    response_model=TransactionView,
    responses={**_ACCEPTED, **problems(TRANSFERS)},
    summary="Pay from one wallet to another",
)
async def create_transfer(body: TransferBody, caller: App, backends: Reach, key: KeyHeader = None) -> Response:
    """Moves money at once. Wallet ids, or user ids for their home wallets, all of this client."""
    demanded = demand_key(key, body)
    sender, receiver = await backends.parties.resolve(caller.client_id, body.sender_id, body.receiver_id)
    if sender.wallet_id == receiver.wallet_id:
        raise SelfTransfer
    scoped = ScopedKey(caller.client_id, sender.wallet_id, demanded)
    intent = Intent(
        key=scoped,
        record=record_of(caller.client_id, sender.wallet_id, demanded, fingerprint_of(_TRANSFERS, body)),
        kind=TransactionKind.TRANSFER,
        amount=body.money,
        source=sender.wallet_id,
        destination=receiver.wallet_id,
        memo=body.memo,
    )
    return await _accept(backends, intent)


@router.post(
    _DEPOSITS,
    status_code=202,
    response_model=TransactionView,
    responses={**_ACCEPTED, **problems(PAYMENTS)},
    summary="Bring money from a bank account into a wallet",
)
async def create_deposit(body: BankPaymentBody, caller: App, backends: Reach, key: KeyHeader = None) -> Response:
    """Answers when the deposit is recorded; the bank is asked afterwards. See `GET /v1/transactions/{id}?wait=`."""
    return await _bank_payment(TransactionKind.DEPOSIT, body, caller, backends, key)


@router.post(
    _WITHDRAWALS,
    status_code=202,
    response_model=TransactionView,
    responses={**_ACCEPTED, **problems(PAYMENTS)},
    summary="Pay money from a wallet out to a bank account",
)
async def create_withdrawal(body: BankPaymentBody, caller: App, backends: Reach, key: KeyHeader = None) -> Response:
    """Answers when the money is held; the bank is asked afterwards. See `GET /v1/transactions/{id}?wait=`."""
    return await _bank_payment(TransactionKind.WITHDRAWAL, body, caller, backends, key)


async def _bank_payment(
    kind: TransactionKind, body: BankPaymentBody, caller: Caller, backends: Backends, key: str | None
) -> Response:
    demanded = demand_key(key, body)
    (owner,) = await backends.parties.resolve(caller.client_id, body.wallet_id)
    account = await backends.directory.bank_account(body.bank_account_id)
    if account is None or account.user_id != owner.user_id:
        raise NotFound(f"The wallet's user has no bank account {body.bank_account_id}.")
    why_not = account.status.why_not(kind)
    deposit = kind is TransactionKind.DEPOSIT
    route = _DEPOSITS if deposit else _WITHDRAWALS
    intent = Intent(
        key=ScopedKey(caller.client_id, owner.wallet_id, demanded),
        record=record_of(caller.client_id, owner.wallet_id, demanded, fingerprint_of(route, body)),
        kind=kind,
        amount=body.money,
        source=None if deposit else owner.wallet_id,
        destination=owner.wallet_id if deposit else None,
        bank_account_id=account.bank_account_id,
        bank=account.bank,
        rails=rails_for(body.rail, body.money, backends.bank(account.bank).capabilities),
        barred=Failure(code=DecisionCode.BANK_ACCOUNT_INACTIVE, detail=why_not) if why_not else None,
    )
    return await _accept(backends, intent)


async def _accept(backends: Backends, intent: Intent) -> Response:
    accepted = await backends.acceptance.accept(intent)
    location = f"/v1/transactions/{accepted.view.transaction_id}"
    return answer(accepted.view, 202, location=location, replayed=accepted.replayed)
