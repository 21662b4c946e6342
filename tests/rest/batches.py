"""Short ways to say what a client does with batches."""

import asyncio
from typing import Any

import httpx

from ledger.invariants import verify
from ledger.shards import Shards
from tests.rest.stage import Caller, Person, Stage

BATCHES = "/v1/transfer-batches"
PATIENCE_SECONDS = 150
OPEN = ("accepted", "processing")


def batch_body(
    sender: Person, transfers: list[tuple[Person, int]], mode: str = "independent", **own_keys: str
) -> dict[str, Any]:
    """A batch in USD. `own_keys` are keys of single transfers: item_3="key"."""
    items: list[dict[str, Any]] = [
        {"receiver_id": receiver.wallet_id, "amount": amount} for receiver, amount in transfers
    ]
    for name, key in own_keys.items():
        items[int(name.removeprefix("item_"))]["idempotency_key"] = key
    return {"sender_id": sender.wallet_id, "currency": "USD", "mode": mode, "transfers": items}


async def finished(caller: Caller, accepted: httpx.Response) -> dict[str, Any]:
    """The batch once it has ended."""
    assert accepted.status_code == 202, accepted.text
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        found: dict[str, Any] = (await caller.get(accepted.headers["Location"])).json()
        if found["status"] not in OPEN:
            return found
        assert asyncio.get_running_loop().time() < deadline, found
        await asyncio.sleep(0.05)


async def items(caller: Caller, batch: dict[str, Any], **query: str | int) -> list[dict[str, Any]]:
    """All transfers of a batch, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        page = (await caller.get(f"{BATCHES}/{batch['batch_id']}/items", **query)).json()
        found += page["items"]
        if "next_cursor" not in page:
            return found
        query["cursor"] = page["next_cursor"]


def counted(batch: dict[str, Any]) -> tuple[int, int, int]:
    """Succeeded, failed, and yet to end."""
    counts = batch["counts"]
    return counts["succeeded"], counts["failed"], counts["pending"] + counts["processing"]


async def demand_sound_books(rest: Stage) -> None:
    """Every invariant on every shard."""
    shards = Shards(rest.settings)
    for shard in shards.all:
        wrong = [f"{finding.name}: {finding.violations}" for finding in await verify(shard.engine) if not finding.ok]
        assert not wrong, wrong
    await shards.aclose()
