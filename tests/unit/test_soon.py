"""Once for all who ask at the same time, and always once after the last of them."""

import asyncio
import time

import pytest

from infra.bank_events import Soon


class Acts:
    """When it was begun; each takes a moment."""

    def __init__(self, *, fails: int = 0) -> None:
        self.began: list[float] = []
        self._fails = fails

    async def __call__(self) -> None:
        self.began.append(time.monotonic())
        await asyncio.sleep(0.01)
        if len(self.began) <= self._fails:
            raise ConnectionError("not now")


async def test_the_first_is_acted_on_at_once() -> None:
    acts, before = Acts(), time.monotonic()
    await Soon(acts, 30)()
    assert acts.began[0] - before < 5


async def test_a_crowd_is_acted_on_together_and_after_its_last() -> None:
    acts = Acts()
    soon = Soon(acts, 0.2)
    asked: list[float] = []

    async def ask() -> None:
        asked.append(time.monotonic())
        await soon()

    crowd = [asyncio.create_task(ask()) for _ in range(200)]
    await asyncio.sleep(0.05)
    crowd += [asyncio.create_task(ask()) for _ in range(200)]
    await asyncio.gather(*crowd)
    assert len(acts.began) == 2
    assert acts.began[-1] >= max(asked)
    assert acts.began[1] - acts.began[0] >= 0.2


async def test_a_failure_is_the_callers_who_waited_for_it_and_the_next_tries_again() -> None:
    acts = Acts(fails=1)
    soon = Soon(acts, 0.0)
    with pytest.raises(ConnectionError):
        await soon()
    await soon()
    assert len(acts.began) == 2


async def test_who_gives_up_waiting_leaves_the_way_free() -> None:
    acts = Acts()
    soon = Soon(acts, 0.3)
    await soon()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await soon()
    await soon()
    assert len(acts.began) == 2
