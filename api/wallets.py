"""GET /v1/wallets/{id} and its statement."""

from enum import StrEnum
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response

from api.answers import answer, raw_answer
from api.backends import Backends, Reach
from api.balances import KnownBalance
from api.cursors import entries_cursor, read_entries_cursor
from api.json_body import JsonRoute
from api.openapi import READS, problems, success
from api.security import AnyCaller, Caller
from api.views import EntriesView, WalletView, view_of_entry, view_of_wallet
from domain.errors import InvalidCursor, NotFound
from domain.ids import WalletId
from ledger.service import Wallet

MAX_PAGE: Final = 200

router: Final = APIRouter(route_class=JsonRoute, tags=["wallets"])


class Consistency(StrEnum):
    """Where a balance comes from: the ledger itself, or perhaps the cache, at most a few seconds old."""

    STRONG = "strong"
    EVENTUAL = "eventual"


Cursor = Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Lines on a page.")]


@router.get(
    "/v1/wallets/{wallet_id}",
    response_model=WalletView,
    responses={**success(200, "The wallet with its balance."), **problems(READS)},
    summary="Look at a wallet and its balance",
)
async def get_wallet(
    wallet_id: WalletId, caller: AnyCaller, backends: Reach, consistency: Consistency = Consistency.STRONG
) -> Response:
    """From the ledger; with `consistency=eventual` perhaps from a cache."""
    if consistency is Consistency.EVENTUAL:
        return raw_answer((await visible_balance(backends, caller, wallet_id)).answer)
    return answer(view_of_wallet(await visible_wallet(backends, caller, wallet_id)))


@router.get(
    "/v1/wallets/{wallet_id}/entries",
    response_model=EntriesView,
    responses={**success(200, "A page of the statement."), **problems((*READS, InvalidCursor))},
    summary="Read a wallet's statement",
)
async def list_entries(
    wallet_id: WalletId, caller: AnyCaller, backends: Reach, cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """From the ledger itself, newest first. The balance after each line is the sum of all lines up to it."""
    before = read_entries_cursor(cursor) if cursor is not None else None
    await visible_wallet(backends, caller, wallet_id)
    found = await backends.ledger.entries(wallet_id, before_version=before, limit=limit + 1)
    page = found[:limit]
    following = entries_cursor(page[-1].version) if len(found) > limit else None
    return answer(EntriesView(entries=[view_of_entry(entry) for entry in page], next_cursor=following))


async def visible_wallet(backends: Backends, caller: Caller, wallet_id: WalletId) -> Wallet:
    """A wallet that this caller may see. Raises NotFound for any other."""
    found = await backends.ledger.wallet(wallet_id)
    if found is None:
        raise NotFound
    caller.demand_sight(found.client_id)
    return found


async def visible_balance(backends: Backends, caller: Caller, wallet_id: WalletId) -> KnownBalance:
    """A wallet that this caller may see, perhaps from the cache: whose it is never changes. Raises NotFound."""
    found = await backends.balances.eventual(wallet_id)
    caller.demand_sight(found.client_id)
    return found
