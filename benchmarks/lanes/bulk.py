"""Batches of transfers over the REST API: from the POST until the batch is completed."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson

from benchmarks.load import Account
from benchmarks.site import Site
from benchmarks.wire import Wire

PATH: Final = "/v1/transfer-batches"
POLL_SECONDS: Final = 0.5
"""Rarely: counting a batch's items is work, too. When it was completed is in the answer."""
LONGEST_SECONDS: Final = 120.0


class BatchNotCompletedError(RuntimeError):
    """A batch was refused or did not end; the message is the last answer."""


@dataclass(frozen=True)
class PaidBatch:
    """A batch that was completed."""

    succeeded: int
    failed: int
    accepted_seconds: float
    """Until the POST was answered; after a 503 it was sent again."""
    seconds: float
    """Until it was completed, by the database's clock, which is this machine's."""

    @property
    def rate(self) -> float:
        """Transfers a second, end to end."""
        return self.succeeded / self.seconds


class Bulk:
    """Sends batches from one wallet to all others in turn. `run` begins every key."""

    def __init__(self, site: Site, run: str) -> None:
        self._site, self._run = site, run
        self._sent = 0

    def pay(self, transfers: int) -> PaidBatch:
        """One batch, followed to its end. Raises BatchNotCompletedError."""

        async def alone() -> PaidBatch:
            async with self._wire() as wire:
                return await self._pay(wire, transfers)

        return asyncio.run(alone())

    async def keep_paying(self, transfers: int, every_seconds: float, seconds: float) -> list[PaidBatch]:
        """Send a batch at each of these moments, whether the one before has ended or not; wait for all."""
        async with self._wire() as wire:
            running = []
            for _ in range(round(seconds / every_seconds)):
                running.append(asyncio.create_task(self._pay(wire, transfers)))
                await asyncio.sleep(every_seconds)
            return list(await asyncio.gather(*running))

    @asynccontextmanager
    async def _wire(self) -> AsyncIterator[Wire]:
        platform = self._site.platform
        async with Wire(platform.api_url, {"Authorization": f"Bearer {platform.app_key}"}) as wire:
            yield wire

    async def _pay(self, wire: Wire, transfers: int) -> PaidBatch:
        self._sent += 1
        body = _body(self._site.accounts, f"{self._run}-batch-{self._sent}", self._sent, transfers)
        begin = time.time()
        answer = await wire.call("POST", PATH, body)
        while answer.status == 503 and time.time() - begin < LONGEST_SECONDS:
            await asyncio.sleep(POLL_SECONDS)
            answer = await wire.call("POST", PATH, body)
        accepted = time.time() - begin
        if answer.status != 202:
            raise BatchNotCompletedError(answer.body.decode())
        found = orjson.loads(answer.body)
        while found["status"] != "completed":
            if time.time() - begin > LONGEST_SECONDS:
                raise BatchNotCompletedError(answer.body.decode())
            await asyncio.sleep(POLL_SECONDS)
            answer = await wire.call("GET", f"{PATH}/{found['batch_id']}")
            found = orjson.loads(answer.body)
        counts, completed = found["counts"], datetime.fromisoformat(found["completed_at"]).timestamp()
        return PaidBatch(counts["succeeded"], counts["failed"], accepted, completed - begin)


def _body(accounts: Sequence[Account], key: str, turn: int, transfers: int) -> bytes:
    ids = [account.wallet_id for account in accounts]
    sender = ids.pop(turn % len(ids))
    items = [{"receiver_id": ids[number % len(ids)], "amount": 1} for number in range(transfers)]
    return orjson.dumps({"sender_id": sender, "currency": "USD", "idempotency_key": key, "transfers": items})
