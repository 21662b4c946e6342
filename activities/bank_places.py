"""Places for calls to one bank in a worker: none is free for long while the bank is left alone.

A worker fetches a task only when it has a place for it. So payments that wait for a bank whose breaker is open wait in
its queue, where they cost nothing, and not in attempts that are held back one after the other.
"""

import asyncio
from typing import Final

from temporalio.worker import (
    CustomSlotSupplier,
    SlotMarkUsedContext,
    SlotPermit,
    SlotReleaseContext,
    SlotReserveContext,
)

from bank_adapters.breaker import LOOK_AGAIN_SECONDS, Breaker, Phase

LEFT_ALONE_PAUSE_SECONDS: Final = 0.5
"""Meanwhile a place is given as often as this: most payments learn so why they wait, and show it."""


class BankPlaces(CustomSlotSupplier):
    """At most `most` calls at once; a few where the breaker is half-open, and hardly any where it is open."""

    def __init__(self, breaker: Breaker, most: int) -> None:
        self._breaker = breaker
        self._most = most
        self._taken = 0
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit:
        """Waits for a place. Cancelled when the worker ends."""
        del ctx
        self._loop = asyncio.get_running_loop()
        async with self._turn:  # One asks for all that wait.
            while not await self._is_one_free():
                pass
            self._taken += 1
        return SlotPermit()

    async def _is_one_free(self) -> bool:
        """Whether there is a place; if not, after a while in which there may have come one."""
        state = await self._breaker.state()
        if state.phase is Phase.OPEN:
            await asyncio.sleep(min(state.seconds, LEFT_ALONE_PAUSE_SECONDS))
            return self._taken < self._most
        most = self._most if state.phase is Phase.CLOSED else min(self._most, self._breaker.rules.probes)
        if self._taken < most:
            return True
        self._freed.clear()
        try:
            async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                await self._freed.wait()
        except TimeoutError:
            pass
        return False

    def try_reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit | None:
        """Nothing for tasks that come without having been fetched: a bank's queue has its rate limit at the server."""
        del ctx
        return None

    def mark_slot_used(self, ctx: SlotMarkUsedContext) -> None:
        """A place counts from when it is given."""

    def release_slot(self, ctx: SlotReleaseContext) -> None:
        """Called by any thread of the SDK's."""
        del ctx
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._free)

    def _free(self) -> None:
        self._taken -= 1
        self._freed.set()
