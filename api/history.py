"""GET /v1/wallets/{id}/transactions: the history and the search in it, from the read model."""

from dataclasses import fields
from hashlib import blake2b
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response

from api.answers import answer
from api.backends import Reach
from api.cursors import history_cursor, read_history_cursor
from api.json_body import JsonRoute
from api.openapi import READS, problems, success
from api.schemas import Moment
from api.security import AnyCaller
from api.views import TransactionsView, view_of_history
from api.wallets import Cursor, Limit, visible_balance
from domain.errors import InvalidCursor, InvalidRequest
from domain.ids import WalletId
from domain.money import MAX_MINOR_UNITS
from domain.transactions import TransactionKind, TransactionStatus
from events.history import Direction, HistoryFilter, list_transactions, words_of

LAG_HEADER: Final = "Sagapay-History-Lag"
_LAG: Final = {
    LAG_HEADER: {
        "description": "Seconds: how old the oldest event is that this history does not have yet. Not there where "
        "nobody knows.",
        "schema": {"type": "string"},
    }
}
_AmountQuery = Annotated[int | None, Query(ge=1, le=MAX_MINOR_UNITS, description="Minor units, itself included.")]

router: Final = APIRouter(route_class=JsonRoute, tags=["wallets"])


@router.get(
    "/v1/wallets/{wallet_id}/transactions",
    response_model=TransactionsView,
    responses={**success(200, "A page of the history.", _LAG), **problems((*READS, InvalidCursor))},
    summary="Read a wallet's history, or search in it",
)
async def list_history(
    wallet_id: WalletId,
    caller: AnyCaller,
    backends: Reach,
    *,
    direction: Annotated[Direction | None, Query(description="Only what came in, or went out.")] = None,
    kind: TransactionKind | None = None,
    status: TransactionStatus | None = None,
    counterparty_id: Annotated[WalletId | None, Query(description="With this wallet on the other side.")] = None,
    min_amount: _AmountQuery = None,
    max_amount: _AmountQuery = None,
    since: Annotated[Moment | None, Query(description="Asked for at this moment or later.")] = None,
    until: Annotated[Moment | None, Query(description="Asked for before this moment.")] = None,
    memo: Annotated[
        str | None, Query(min_length=1, max_length=200, description="All these words, whole, are in its memo.")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Payments in and out, newest first; eventually consistent. A cursor belongs to the wallet and the filters."""
    wanted = HistoryFilter(
        direction=direction,
        kind=kind,
        status=status,
        counterparty_id=counterparty_id,
        min_amount=min_amount,
        max_amount=max_amount,
        since=since,
        until=until,
        memo=memo,
    )
    if memo is not None and not words_of(memo):
        raise InvalidRequest("memo: wants at least one word")
    asked = _digest(wallet_id, wanted)
    before = read_history_cursor(cursor, asked) if cursor is not None else None
    await visible_balance(backends, caller, wallet_id)
    database = backends.history.of(wallet_id)
    found = await list_transactions(database.engine, wallet_id, before, limit + 1, wanted)
    page = found[:limit]
    following = history_cursor(page[-1].transaction_id, asked) if len(found) > limit else None
    view = TransactionsView(transactions=[view_of_history(item) for item in page], next_cursor=following)
    response = answer(view)
    lag = await backends.history_lag.seconds(backends.shards.number_of(wallet_id), database.consumer)
    if lag is not None:
        response.headers[LAG_HEADER] = f"{lag:.1f}"
    return response


def _digest(wallet_id: WalletId, wanted: HistoryFilter) -> str:
    """What a cursor belongs to."""
    said = [wallet_id, *(f"{field.name}={getattr(wanted, field.name)}" for field in fields(wanted))]
    return blake2b("\n".join(said).encode(), digest_size=6).hexdigest()
