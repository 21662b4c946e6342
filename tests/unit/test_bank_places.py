"""Places for calls to a bank: as many as there are, a few while it is tried again, hardly any while it is alone."""

import asyncio
import time
from typing import Any, cast

import pytest
from temporalio.worker import SlotPermit, SlotReleaseContext, SlotReserveContext

from activities.bank_places import LEFT_ALONE_PAUSE_SECONDS, BankPlaces
from tests.unit.test_breaker import RULES, Bench

MOST = 5
_ANY = cast("SlotReserveContext", object())
"""What is asked for does not matter: a bank's queue has activities alone."""


class Fetching:
    """A worker that fetches tasks as long as it gets places, and keeps them."""

    def __init__(self, bench: Bench) -> None:
        self.places = BankPlaces(bench.breaker, MOST)
        self.kept: list[SlotPermit] = []
        self._pollers = [asyncio.create_task(self._poll()) for _ in range(MOST)]

    async def _poll(self) -> None:
        while True:
            self.kept.append(await self.places.reserve_slot(_ANY))

    async def give_back(self) -> None:
        """As the SDK does, on a thread of its own."""
        released: Any = SlotReleaseContext(slot_info=None, permit=self.kept.pop())
        await asyncio.to_thread(self.places.release_slot, released)

    async def __aenter__(self) -> "Fetching":
        return self

    async def __aexit__(self, *_: object) -> None:
        for poller in self._pollers:
            poller.cancel()
        ended = await asyncio.gather(*self._pollers, return_exceptions=True)
        assert {type(end) for end in ended} == {asyncio.CancelledError}


async def settled() -> None:
    """Long enough for whoever need not wait."""
    await asyncio.sleep(0.1)


async def test_a_bank_that_answers_gets_as_many_calls_as_there_are_places() -> None:
    async with Fetching(Bench()) as worker:
        await settled()
        assert len(worker.kept) == MOST
        await worker.give_back()
        await worker.give_back()
        await settled()
        assert len(worker.kept) == MOST


async def test_a_bank_that_is_left_alone_is_asked_for_hardly_anything() -> None:
    bench = Bench()
    await bench.opened()
    began = time.monotonic()
    async with Fetching(bench) as worker:
        await asyncio.sleep(2.2 * LEFT_ALONE_PAUSE_SECONDS)
        assert 1 <= len(worker.kept) <= (time.monotonic() - began) / LEFT_ALONE_PAUSE_SECONDS


async def test_a_bank_that_is_left_alone_still_gets_no_more_calls_than_there_are_places() -> None:
    bench = Bench()
    async with Fetching(bench) as worker:
        await settled()
        await bench.opened()
        await worker.give_back()
        await asyncio.sleep(3 * LEFT_ALONE_PAUSE_SECONDS)
        assert len(worker.kept) == MOST


async def test_a_bank_that_may_be_back_gets_a_few_calls_and_all_once_they_went_well() -> None:
    bench = Bench()
    await bench.half_opened()
    async with Fetching(bench) as worker:
        await settled()
        assert len(worker.kept) == RULES.probes < MOST
        for number in range(RULES.probes):
            await bench.call(f"txn_{number}", failed=False)
        await worker.give_back()
        await settled()
        assert len(worker.kept) == MOST


async def test_places_that_are_not_given_back_are_seen_again_when_the_bank_is_back() -> None:
    bench = Bench()
    await bench.half_opened()
    async with Fetching(bench) as worker:
        await settled()
        for number in range(RULES.probes):
            await bench.call(f"txn_{number}", failed=False)
        async with asyncio.timeout(5):
            while len(worker.kept) < MOST:  # noqa: ASYNC110  -- somebody else's list
                await asyncio.sleep(0.05)


async def test_who_is_cancelled_while_waiting_blocks_nobody() -> None:
    bench = Bench()
    await bench.opened()
    places = BankPlaces(bench.breaker, MOST)
    waiting = asyncio.create_task(places.reserve_slot(_ANY))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(5):
        await places.reserve_slot(_ANY)


async def test_no_task_is_taken_without_having_been_fetched() -> None:
    assert BankPlaces(Bench().breaker, MOST).try_reserve_slot(_ANY) is None
