"""Many small questions to one server, asked together without waiting for each other to come."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Together(Generic[Question, Answer]):
    """Whoever asks while nothing is on its way asks at once; what is asked meanwhile is the next question, as one.

    `ask` answers a list of questions in their order. What it raises is raised to all who asked.
    """

    def __init__(self, ask: Callable[[list[Question]], Awaitable[list[Answer]]]) -> None:
        self._ask = ask
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer:
        """The answer. A caller that is cancelled does not stop the others."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._asking is None:
            self._asking = asyncio.create_task(self._until_nobody_waits())
        return await answer

    async def aclose(self) -> None:
        """Wait for what is on its way."""
        while self._asking is not None:
            await asyncio.wait({self._asking})

    async def _until_nobody_waits(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, []
                await self._deliver(asked)
        finally:
            self._asking = None

    async def _deliver(self, asked: list[tuple[Question, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._ask([question for question, _ in asked])
        except Exception as error:  # noqa: BLE001  -- it is theirs who asked
            for _, waiting in asked:
                if not waiting.done():
                    waiting.set_exception(error)
            return
        except BaseException:
            for _, waiting in asked:
                waiting.cancel()
            raise
        for (_, waiting), answer in zip(asked, answers, strict=True):
            if not waiting.done():
                waiting.set_result(answer)
