"""GET /v1/wallets/{id}, its statement and its history; freezing, for operators."""

from enum import StrEnum
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Query, Response

from api.answers import answer, raw_answer
from api.backends import Backends, Reach
from api.cursors import entries_cursor, history_cursor, read_entries_cursor, read_history_cursor
from api.idempotency import KeyHeader, demand_key
from api.json_body import JsonRoute
from api.openapi import READS, WRITES, problems, success
from api.schemas import ReasonBody
from api.security import AnyCaller, Caller, Operator
from api.views import EntriesView, TransactionsView, WalletView, view_of_entry, view_of_history, view_of_wallet
from domain.errors import InvalidCursor, NotFound
from domain.ids import ClientId, WalletId
from events.history import list_transactions
from ledger.service import AccountStatus, Wallet

BALANCE_SECONDS: Final = 5.0
MAX_PAGE: Final = 200

router: Final = APIRouter(route_class=JsonRoute, tags=["wallets"])
log = structlog.get_logger("api.audit")


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
        return await _eventual(backends, caller, wallet_id)
    return answer(view_of_wallet(await _visible(backends, caller, wallet_id)))


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
    await _visible(backends, caller, wallet_id)
    found = await backends.ledger.entries(wallet_id, before_version=before, limit=limit + 1)
    page = found[:limit]
    following = entries_cursor(page[-1].version) if len(found) > limit else None
    return answer(EntriesView(entries=[view_of_entry(entry) for entry in page], next_cursor=following))


@router.get(
    "/v1/wallets/{wallet_id}/transactions",
    response_model=TransactionsView,
    responses={**success(200, "A page of the history."), **problems((*READS, InvalidCursor))},
    summary="Read a wallet's history",
)
async def list_history(
    wallet_id: WalletId, caller: AnyCaller, backends: Reach, cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """Payments in and out, newest first; eventually consistent."""
    before = read_history_cursor(cursor) if cursor is not None else None
    await _visible(backends, caller, wallet_id)
    found = await list_transactions(backends.engine, wallet_id, before, limit + 1)
    page = found[:limit]
    following = history_cursor(page[-1].transaction_id) if len(found) > limit else None
    return answer(TransactionsView(transactions=[view_of_history(item) for item in page], next_cursor=following))


@router.post(
    "/v1/wallets/{wallet_id}/freeze",
    response_model=WalletView,
    responses={**success(200, "The wallet is frozen."), **problems((*WRITES, NotFound))},
    summary="Freeze a wallet (operators)",
    tags=["operators"],
)
async def freeze_wallet(
    wallet_id: WalletId, caller: Operator, backends: Reach, body: ReasonBody | None = None, key: KeyHeader = None
) -> Response:
    """No new payment of it is accepted; what was accepted before goes to its end."""
    demand_key(key, body)
    return await _set_status(backends, caller, wallet_id, AccountStatus.FROZEN, body)


@router.post(
    "/v1/wallets/{wallet_id}/unfreeze",
    response_model=WalletView,
    responses={**success(200, "The wallet is active."), **problems((*WRITES, NotFound))},
    summary="Unfreeze a wallet (operators)",
    tags=["operators"],
)
async def unfreeze_wallet(
    wallet_id: WalletId, caller: Operator, backends: Reach, body: ReasonBody | None = None, key: KeyHeader = None
) -> Response:
    """It pays and is paid again."""
    demand_key(key, body)
    return await _set_status(backends, caller, wallet_id, AccountStatus.ACTIVE, body)


async def _set_status(
    backends: Backends, caller: Caller, wallet_id: WalletId, status: AccountStatus, body: ReasonBody | None
) -> Response:
    wallet = await backends.ledger.set_wallet_status(wallet_id, status)
    await backends.cache.forget(_cache_name(wallet_id))
    reason = body.reason if body is not None else None
    log.info("wallet.status", wallet_id=wallet_id, status=status, by=caller.client_id, reason=reason)
    return answer(view_of_wallet(wallet))


async def _visible(backends: Backends, caller: Caller, wallet_id: WalletId) -> Wallet:
    found = await backends.ledger.wallet(wallet_id)
    if found is None:
        raise NotFound
    caller.demand_sight(found.client_id)
    return found


def _cache_name(wallet_id: WalletId) -> str:
    return f"balance:{wallet_id}"


async def _eventual(backends: Backends, caller: Caller, wallet_id: WalletId) -> Response:
    # The cached value is the owner and the answer as it was written, so that a hit costs no parsing.
    cached = await backends.cache.get_versioned(_cache_name(wallet_id))
    if cached is not None:
        owner, _, content = cached.partition(b"\n")
        caller.demand_sight(ClientId(owner.decode("ascii", "replace")))
        return raw_answer(content)
    found = await _visible(backends, caller, wallet_id)
    content = view_of_wallet(found).model_dump_json(exclude_none=True).encode()
    await backends.cache.set_newer(
        _cache_name(wallet_id),
        found.client_id.encode() + b"\n" + content,
        version=found.version,
        ttl_seconds=BALANCE_SECONDS,
    )
    return raw_answer(content)
