"""POST /v1/holds, its captures and its release; GET a hold, or a wallet's."""

from typing import Final

from fastapi import APIRouter, Response

from api.answers import answer
from api.backends import Reach
from api.cursors import holds_cursor, read_holds_cursor
from api.hold_views import HoldsView, HoldView, view_of_hold
from api.holding import HOLDS as PATH
from api.idempotency import KeyHeader, demand_key
from api.json_body import JsonRoute
from api.openapi import HOLDS, LOCATION, READS, RELEASES, REPLAYED, TRANSFERS, problems, success
from api.schemas import CaptureBody, HoldBody, ReleaseBody
from api.security import AnyCaller, App
from api.views import TransactionView
from api.wallets import Cursor, Limit, visible_wallet
from domain.errors import InvalidCursor
from domain.ids import HoldId, WalletId

router: Final = APIRouter(route_class=JsonRoute, tags=["holds"])


@router.post(
    PATH,
    status_code=202,
    response_model=HoldView,
    responses={
        **success(
            202,
            "The hold is recorded. Where it was decided against, `status` is failed and `failure` says why.",
            {**LOCATION, **REPLAYED},
        ),
        **problems(HOLDS),
    },
    summary="Hold money of a wallet for later",
)
async def create_hold(body: HoldBody, caller: App, backends: Reach, key: KeyHeader = None) -> Response:
    """Held until it is captured or released, or expires: after seven days where the body does not say when."""
    accepted = await backends.holding.place(caller.client_id, demand_key(key, body), body)
    location = f"{PATH}/{accepted.hold.hold_id}"
    return answer(view_of_hold(accepted.hold), 202, location=location, replayed=accepted.replayed)


@router.post(
    PATH + "/{hold_id}/captures",
    status_code=202,
    response_model=TransactionView,
    responses={
        **success(
            202,
            "The transfer is recorded. Where it was decided against, `status` is failed and `failure` says why.",
            {**LOCATION, **REPLAYED},
        ),
        **problems(TRANSFERS),
    },
    summary="Pay somebody from a hold",
)
async def capture_hold(
    hold_id: HoldId, body: CaptureBody, caller: App, backends: Reach, key: KeyHeader = None
) -> Response:
    """A transfer from the hold's wallet, as often as something remains; `final` releases what then remains."""
    accepted = await backends.holding.capture(caller.client_id, hold_id, demand_key(key, body), body)
    location = f"/v1/transactions/{accepted.view.transaction_id}"
    return answer(accepted.view, 202, location=location, replayed=accepted.replayed)


@router.post(
    PATH + "/{hold_id}/release",
    response_model=HoldView,
    responses={**success(200, "The hold is released."), **problems(RELEASES)},
    summary="Let go of what remains of a hold",
)
async def release_hold(
    hold_id: HoldId, caller: AnyCaller, backends: Reach, body: ReleaseBody | None = None, key: KeyHeader = None
) -> Response:
    """Releasing twice is the same as once. A hold that has ended otherwise answers 409 with how."""
    demand_key(key, body)
    return answer(view_of_hold(await backends.holding.release(caller, hold_id)))


@router.get(
    PATH + "/{hold_id}",
    response_model=HoldView,
    responses={**success(200, "The hold as it is now."), **problems(READS)},
    summary="Look at a hold",
)
async def get_hold(hold_id: HoldId, caller: AnyCaller, backends: Reach) -> Response:
    """From the ledger, strongly consistent."""
    return answer(view_of_hold(await backends.holding.visible(caller, hold_id)))


@router.get(
    "/v1/wallets/{wallet_id}/holds",
    response_model=HoldsView,
    responses={**success(200, "A page of the wallet's holds."), **problems((*READS, InvalidCursor))},
    summary="List a wallet's holds",
)
async def list_holds(
    wallet_id: WalletId, caller: AnyCaller, backends: Reach, cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """Those placed over the API, newest first. What withdrawals hold is in the wallet's balance alone."""
    before = read_holds_cursor(cursor) if cursor is not None else None
    await visible_wallet(backends, caller, wallet_id)
    found = await backends.ledger.holds(wallet_id, before=before, limit=limit + 1)
    page = found[:limit]
    following = holds_cursor(page[-1].hold_id) if len(found) > limit else None
    return answer(HoldsView(holds=[view_of_hold(item) for item in page], next_cursor=following))
