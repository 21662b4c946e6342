"""POST /v1/users, GET /v1/users/{id}."""

from typing import Final

from fastapi import APIRouter, Response

from api.answers import answer
from api.backends import Reach
from api.idempotency import KeyHeader, demand_key, fingerprint_of, record_of
from api.json_body import JsonRoute
from api.openapi import LOCATION, READS, REPLAYED, WRITES, problems, success
from api.schemas import UserBody
from api.security import AnyCaller, App
from api.views import UserView, view_of_user
from domain.errors import HandleTaken, IdempotencyKeyReused, NotFound
from domain.ids import UserId
from ledger.directory import NewUser

router: Final = APIRouter(route_class=JsonRoute, tags=["users"])

_USERS: Final = "/v1/users"


@router.post(
    _USERS,
    status_code=201,
    response_model=UserView,
    responses={
        **success(201, "The user and their home wallet.", {**LOCATION, **REPLAYED}),
        **problems((*WRITES, HandleTaken, IdempotencyKeyReused)),
    },
    summary="Add a user and open their wallet",
)
async def create_user(body: UserBody, caller: App, backends: Reach, key: KeyHeader = None) -> Response:
    """The wallet is kept in the home currency, with nothing in it."""
    record = record_of(caller.client_id, None, demand_key(key, body), fingerprint_of(_USERS, body))
    new = NewUser(
        client_id=caller.client_id,
        currency=backends.settings.home_currency,
        name=body.name,
        email=body.email,
        handle=body.handle,
    )
    # The directory says once and for all which wallet it is; opening it is repeated until it has happened.
    user, replayed = await backends.directory.create_user(new, record)
    await backends.ledger.open_wallet(user.wallet_id, user.user_id, user.client_id, user.currency)
    return answer(view_of_user(user), 201, location=f"{_USERS}/{user.user_id}", replayed=replayed)


@router.get(
    "/v1/users/{user_id}",
    response_model=UserView,
    responses={**success(200, "The user."), **problems(READS)},
    summary="Look at a user",
)
async def get_user(user_id: UserId, caller: AnyCaller, backends: Reach) -> Response:
    """A user of this client. Operators look after payments, not after people: they see none but their own client's."""
    user = await backends.directory.user(user_id)
    if user is None or user.client_id != caller.client_id:
        raise NotFound
    return answer(view_of_user(user))
