"""POST /v1/micro-deposits and /v1/bank-accounts/{id}/verify: linking a bank account by its number."""

from datetime import datetime, time
from typing import Final

from fastapi import APIRouter, Response

from api.answers import answer
from api.backends import Backends, Reach
from api.bank_accounts import linked, own_account, own_user
from api.idempotency import KeyHeader, demand_key, fingerprint_of, record_of
from api.json_body import JsonRoute
from api.openapi import LOCATION, REPLAYED, WRITES, problems, success
from api.schemas import MicroDepositsBody, VerifyBody
from api.security import App
from api.views import BankAccountView, view_of_bank_account
from bank_adapters.linking import AccountNumbers, MicroDepositBank
from domain.calendar import BANKING_ZONE, add_banking_days, banking_date
from domain.errors import (
    BankRefusedLink,
    BankUnavailable,
    BankUnknown,
    CannotLink,
    IdempotencyKeyReused,
    InvalidMoney,
    MicroDepositsUnsupported,
    MicroDepositsWrong,
    NotFound,
    UnknownBank,
)
from domain.ids import BankAccountId
from ledger.bank_accounts import NewBankAccount
from ledger.micro_deposits import Expected

router: Final = APIRouter(route_class=JsonRoute, tags=["bank accounts"])

_SEND: Final = "/v1/micro-deposits"


@router.post(
    _SEND,
    status_code=201,
    response_model=BankAccountView,
    responses={
        **success(201, "The account, not verified yet.", {**LOCATION, **REPLAYED}),
        **problems(
            (
                *WRITES,
                NotFound,
                IdempotencyKeyReused,
                UnknownBank,
                BankRefusedLink,
                MicroDepositsUnsupported,
                BankUnavailable,
                BankUnknown,
            )
        ),
    },
    summary="Link a bank account by its number",
)
async def send_micro_deposits(body: MicroDepositsBody, caller: App, backends: Reach, key: KeyHeader = None) -> Response:
    """The bank sends two small amounts to the account; money can move over it once the user has named them."""
    record = record_of(caller.client_id, None, demand_key(key, body), fingerprint_of(_SEND, body.shown))
    user = await own_user(backends, caller, body.user_id)
    known = await backends.directory.find_request(record)
    if known is not None:
        return linked(await own_account(backends, caller, BankAccountId.of(known)), replayed=True)
    bank = backends.bank(body.bank)
    if not isinstance(bank, MicroDepositBank):
        raise MicroDepositsUnsupported
    account = AccountNumbers(
        routing_number=body.routing_number, account_number=body.account_number, holder_name=body.holder_name
    )
    # Under the key's own reference: who lost the answer asks again, and nothing is sent twice.
    sent = await bank.send_micro_deposits(f"micro:{record.key_digest}", user.user_id, account)
    first, second = (amount.minor_units for amount in sent.amounts)
    new = NewBankAccount(
        client_id=caller.client_id,
        user_id=user.user_id,
        bank=bank.name,
        account_token=sent.account_token,
        holder_name=body.holder_name,
        mask=sent.mask,
    )
    expected = Expected(
        amounts=(first, second), tries=backends.settings.micro_deposit_tries, expires_at=_end_of_time(backends)
    )
    return linked(await backends.micro_deposits.begin(new, expected, record), replayed=False)


@router.post(
    "/v1/bank-accounts/{bank_account_id}/verify",
    response_model=BankAccountView,
    responses={
        **success(200, "The account, active.", REPLAYED),
        **problems((*WRITES, InvalidMoney, NotFound, IdempotencyKeyReused, CannotLink, MicroDepositsWrong)),
    },
    summary="Verify a bank account",
)
async def verify_bank_account(
    bank_account_id: BankAccountId, body: VerifyBody, caller: App, backends: Reach, key: KeyHeader = None
) -> Response:
    """Name the two amounts. A wrong answer counts, once for each key; after the last one the account has to be linked
    anew, and so after ten banking days."""
    route = f"/v1/bank-accounts/{bank_account_id}/verify"
    record = record_of(caller.client_id, None, demand_key(key, body), fingerprint_of(route, body))
    await own_account(backends, caller, bank_account_id)
    first, second = body.amounts
    verified = await backends.micro_deposits.confirm(
        bank_account_id, (first, second), at=backends.clock.now(), by=f"client:{caller.client_id}", key=record
    )
    return answer(view_of_bank_account(verified))


def _end_of_time(backends: Backends) -> datetime:
    """Midnight in New York after the last banking day on which the amounts may be named."""
    today = banking_date(backends.clock.now())
    after = add_banking_days(today, backends.settings.micro_deposit_days + 1)
    return datetime.combine(after, time(), tzinfo=BANKING_ZONE)
