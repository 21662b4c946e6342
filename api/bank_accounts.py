"""POST /v1/bank-links, POST /v1/bank-accounts, and what becomes of a bank account: relink, unlink."""

from typing import Final

from fastapi import APIRouter, Response

from api.answers import answer
from api.backends import Backends, Reach
from api.idempotency import KeyHeader, demand_key, fingerprint_of, record_of
from api.json_body import JsonRoute
from api.openapi import LOCATION, READS, REPLAYED, WRITES, problems, success
from api.schemas import BankAccountBody, BankLinkBody, RelinkBody, UnlinkBody
from api.security import AnyCaller, App, Caller
from api.views import BankAccountView, BankLinkView, view_of_bank_account
from domain.errors import (
    BankAccountInUse,
    BankRefusedLink,
    BankUnavailable,
    BankUnknown,
    CannotLink,
    IdempotencyKeyReused,
    NotFound,
    UnknownBank,
)
from domain.ids import BankAccountId, UserId
from ledger.bank_accounts import BankAccount, NewBankAccount
from ledger.directory import User
from ledger.queries import has_payment_in_flight

router: Final = APIRouter(route_class=JsonRoute, tags=["bank accounts"])

_LINKS: Final = "/v1/bank-links"
_ACCOUNTS: Final = "/v1/bank-accounts"
_ERRORS: Final = (*WRITES, NotFound, IdempotencyKeyReused, UnknownBank, BankUnavailable, BankUnknown)


@router.post(
    _LINKS,
    status_code=201,
    response_model=BankLinkView,
    responses={**success(201, "Send the user to their bank with this.", REPLAYED), **problems(_ERRORS)},
    summary="Begin to link a bank account",
)
async def create_bank_link(body: BankLinkBody, caller: App, backends: Reach, key: KeyHeader = None) -> Response:
    """The user says yes at the bank and brings back a public token."""
    record = record_of(caller.client_id, None, demand_key(key, body), fingerprint_of(_LINKS, body))
    user = await own_user(backends, caller, body.user_id)
    bank = backends.bank(body.bank)
    known = await backends.directory.find_request(record)
    if known is not None:
        token = await backends.directory.link_token(known)
        return answer(BankLinkView(link_token=token, bank=bank.name), 201, replayed=True)
    made = await bank.create_link_token(user.user_id)
    token = await backends.directory.record_bank_link(
        caller.client_id, user.user_id, bank.name, made.link_token, record
    )
    return answer(BankLinkView(link_token=token, bank=bank.name), 201, replayed=token != made.link_token)


@router.post(
    _ACCOUNTS,
    status_code=201,
    response_model=BankAccountView,
    responses={
        **success(201, "The linked account.", {**LOCATION, **REPLAYED}),
        **problems((*_ERRORS, BankRefusedLink)),
    },
    summary="Finish linking a bank account",
)
async def create_bank_account(body: BankAccountBody, caller: App, backends: Reach, key: KeyHeader = None) -> Response:
    """Exchanges the public token at the bank. What the bank gives for it stays here, and is never shown."""
    record = record_of(caller.client_id, None, demand_key(key, body), fingerprint_of(_ACCOUNTS, body))
    user = await own_user(backends, caller, body.user_id)
    known = await backends.directory.find_request(record)
    if known is not None:
        account = await backends.directory.bank_account(BankAccountId.of(known))
        if account is None:
            raise NotFound
        return linked(account, replayed=True)
    bank = backends.bank(body.bank)
    found = await bank.exchange_public_token(body.public_token)
    if found.user_reference != user.user_id:
        raise BankRefusedLink("This public token was made for another user.")
    new = NewBankAccount(
        client_id=caller.client_id,
        user_id=user.user_id,
        bank=bank.name,
        account_token=found.account_token,
        holder_name=found.holder_name,
        mask=found.mask,
    )
    return linked(await backends.directory.add_bank_account(new, record), replayed=False)


@router.get(
    "/v1/bank-accounts/{bank_account_id}",
    response_model=BankAccountView,
    responses={**success(200, "The linked account."), **problems(READS)},
    summary="Look at a bank account",
)
async def get_bank_account(bank_account_id: BankAccountId, caller: AnyCaller, backends: Reach) -> Response:
    """A linked account of one of this client's users."""
    return answer(view_of_bank_account(await own_account(backends, caller, bank_account_id)))


@router.post(
    "/v1/bank-accounts/{bank_account_id}/relink",
    response_model=BankAccountView,
    responses={
        **success(200, "The account with its new link.", REPLAYED),
        **problems((*_ERRORS, BankRefusedLink, CannotLink)),
    },
    summary="Link a bank account again",
)
async def relink_bank_account(
    bank_account_id: BankAccountId, body: RelinkBody, caller: App, backends: Reach, key: KeyHeader = None
) -> Response:
    """Where its link died or was stopped: the user says yes at the bank once more, for the same account there."""
    route = f"{_ACCOUNTS}/{bank_account_id}/relink"
    record = record_of(caller.client_id, None, demand_key(key, body), fingerprint_of(route, body))
    account = await own_account(backends, caller, bank_account_id)
    if await backends.directory.find_request(record) is not None:
        return answer(view_of_bank_account(account), replayed=True)
    found = await backends.bank(account.bank).exchange_public_token(body.public_token)
    if found.user_reference != account.user_id:
        raise BankRefusedLink("This public token was made for another user.")
    again = NewBankAccount(
        client_id=caller.client_id,
        user_id=account.user_id,
        bank=account.bank,
        account_token=found.account_token,
        holder_name=found.holder_name,
        mask=found.mask,
    )
    kept = await backends.directory.relink(bank_account_id, again, f"client:{caller.client_id}", record)
    return answer(view_of_bank_account(kept))


@router.post(
    "/v1/bank-accounts/{bank_account_id}/unlink",
    response_model=BankAccountView,
    responses={
        **success(200, "The account, unlinked."),
        **problems((*WRITES, NotFound, IdempotencyKeyReused, BankAccountInUse)),
    },
    summary="Unlink a bank account",
)
async def unlink_bank_account(
    bank_account_id: BankAccountId,
    caller: App,
    backends: Reach,
    body: UnlinkBody | None = None,
    key: KeyHeader = None,
) -> Response:
    """Refused while money is in flight over it. The platform forgets the token; linked again, it gets a new id."""
    route = f"{_ACCOUNTS}/{bank_account_id}/unlink"
    record = record_of(caller.client_id, None, demand_key(key, body), fingerprint_of(route, body or UnlinkBody()))
    await own_account(backends, caller, bank_account_id)

    async def in_flight() -> bool:
        return await has_payment_in_flight(backends.shards, bank_account_id)

    kept = await backends.directory.unlink(bank_account_id, f"client:{caller.client_id}", in_flight, record)
    return answer(view_of_bank_account(kept))


async def own_account(backends: Backends, caller: Caller, bank_account_id: BankAccountId) -> BankAccount:
    """A bank account of this client. Raises NotFound for an unknown one and, alike, for a foreign one."""
    account = await backends.directory.bank_account(bank_account_id)
    if account is None or account.client_id != caller.client_id:
        raise NotFound
    return account


async def own_user(backends: Backends, caller: Caller, user_id: UserId) -> User:
    """A user of this client. Raises NotFound."""
    user = await backends.directory.user(user_id)
    if user is None or user.client_id != caller.client_id:
        raise NotFound(f"There is no {user_id} for this client.")
    return user


def linked(account: BankAccount, *, replayed: bool) -> Response:
    """The answer to a POST that has linked it."""
    location = f"{_ACCOUNTS}/{account.bank_account_id}"
    return answer(view_of_bank_account(account), 201, location=location, replayed=replayed)
