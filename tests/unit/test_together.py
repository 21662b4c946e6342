"""What many ask at the same moment is one question."""

import asyncio

import pytest

from infra.together import Together


class Oracle:
    """Answers when it is told to; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.may_answer = asyncio.Event()

    async def ask(self, questions: list[int]) -> list[int]:
        """Ten times each; 13 is unlucky for all who ask with it."""
        self.asked.append(questions)
        await self.may_answer.wait()
        if 13 in questions:
            raise ValueError("unlucky")
        return [10 * question for question in questions]


async def asking(together: Together[int, int], *questions: int) -> list[asyncio.Task[int]]:
    """Tasks that have asked."""
    tasks = [asyncio.create_task(together.ask(question)) for question in questions]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_what_is_asked_meanwhile_is_the_next_question() -> None:
    oracle = Oracle()
    together = Together(oracle.ask)
    tasks = [*await asking(together, 1), *await asking(together, 2, 3), *await asking(together, 4)]
    oracle.may_answer.set()
    assert await asyncio.gather(*tasks) == [10, 20, 30, 40]
    assert oracle.asked == [[1], [2, 3, 4]]
    assert await together.ask(5) == 50
    assert oracle.asked[2:] == [[5]]


async def test_an_error_is_for_those_who_asked_with_it() -> None:
    oracle = Oracle()
    together = Together(oracle.ask)
    lucky, unlucky = await asking(together, 1), await asking(together, 12, 13)
    oracle.may_answer.set()
    assert await asyncio.gather(*lucky) == [10]
    for task in unlucky:
        with pytest.raises(ValueError, match="unlucky"):
            await task
    assert await together.ask(14) == 140


async def test_who_is_cancelled_stops_nobody_else() -> None:
    oracle = Oracle()
    together = Together(oracle.ask)
    first, second = await asking(together, 1, 2)
    (third,) = await asking(together, 3)
    first.cancel()
    third.cancel()
    oracle.may_answer.set()
    assert await second == 20
    await together.aclose()
    assert (first.cancelled(), third.cancelled()) == (True, True)
    assert oracle.asked == [[1, 2], [3]]
