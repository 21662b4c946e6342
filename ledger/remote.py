"""The ledger's service in another process, as a caller sees it: the same interface, each call a question over gRPC."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from itertools import count
from typing import Any, Final, cast

import grpc
import orjson

from domain.errors import LedgerUnavailable, SagapayError
from infra.settings import Settings
from ledger.service import LedgerService
from ledger.wire import (
    EXCHANGE,
    LEAVE,
    MESSAGE_LIMITS,
    METHODS,
    SERVICE,
    Method,
    Outbox,
    answered,
    error_of,
    lines_of,
    question,
)

_OPTIONS: Final = (
    *MESSAGE_LIMITS,
    ("grpc.enable_http_proxy", 0),
    # An address may be a name for several servers; each gets its share of the processes.
    ("grpc.service_config", orjson.dumps({"loadBalancingConfig": [{"round_robin": {}}]}).decode()),
    # A server that was killed comes back within seconds, and so do we.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A machine that vanished without a word is noticed while calls are under way.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)


class Exchange:
    """One stream of questions and answers, until it breaks or the service wants to stop."""

    def __init__(self, stream: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        self.is_open = True
        self._stream = stream
        self._outbox = Outbox()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._numbers = count(1)
        self.tasks = (asyncio.create_task(self._speak()), asyncio.create_task(self._hear()))

    async def ask(self, method: Method, arguments: bytes) -> bytes:
        """The answer. Raises the service's error, or LedgerUnavailable where the exchange ends first."""
        number = next(self._numbers)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._outbox.put(question(number, method, arguments))
        try:
            return await answer
        finally:
            del self._waiting[number]

    async def _speak(self) -> None:
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # `_hear` is told, too, and of the reason.
            await self._outbox.send(self._stream.write)
            await self._stream.done_writing()

    async def _hear(self) -> None:
        end = LedgerUnavailable("The ledger's service ended before it had answered.")
        try:
            while isinstance(frame := await self._stream.read(), bytes):  # else EOF
                for line in lines_of(frame):
                    self._note(line)
        except grpc.aio.AioRpcError as error:
            end = LedgerUnavailable(f"The ledger's service does not answer ({error.code().name.lower()}).")
        finally:
            self._leave()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(end)

    def _note(self, line: bytes) -> None:
        if line == LEAVE:
            self._leave()
            return
        number, found = answered(line)
        answer = self._waiting.get(number)
        if answer is None or answer.done():
            return  # Its caller has gone.
        if isinstance(found, SagapayError):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    def _leave(self) -> None:
        self.is_open = False
        self._outbox.close()


class Line:
    """The way to the service: an exchange made when first used, in that event loop, and again whenever it must be.

    A call that is lost, or not answered in `timeout_seconds`, raises LedgerUnavailable: as with a lost database it may
    still have happened, and repeating it with the same keys gives the outcome that was recorded.
    """

    def __init__(self, address: str, timeout_seconds: float) -> None:
        self._address = address
        self._timeout_seconds = timeout_seconds
        self._channel: grpc.aio.Channel | None = None
        self._exchange: Exchange | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, method: Method, arguments: bytes) -> bytes:
        """One question, one answer."""
        with _lateness_named():
            async with asyncio.timeout(self._timeout_seconds):
                return await self._current().ask(method, arguments)

    async def listen(self, method: Method, arguments: bytes) -> AsyncIterator[bytes]:
        """One question, many answers. All of them may take long; the next one may not."""
        call: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self._opened().unary_stream(method.path)
        stream = call(arguments)
        try:
            while True:
                with _lateness_named():
                    async with asyncio.timeout(self._timeout_seconds):
                        item = await stream.read()
                if not isinstance(item, bytes):  # EOF
                    return
                yield item
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        finally:
            stream.cancel()

    async def aclose(self) -> None:
        """Let go. Whoever still waits for an answer gets LedgerUnavailable."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._channel is not None:
            await self._channel.close()

    def _opened(self) -> grpc.aio.Channel:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._address, options=_OPTIONS)
        return self._channel

    def _current(self) -> Exchange:
        if self._exchange is None or not self._exchange.is_open:
            call: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
            call = self._opened().stream_stream(f"/{SERVICE}/{EXCHANGE}")
            self._exchange = Exchange(call())
            for task in self._exchange.tasks:
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        return self._exchange


@contextmanager
def _lateness_named() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise LedgerUnavailable("The ledger's service does not answer in time.") from error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Not the caller was cancelled but the call, by `aclose`.
        raise LedgerUnavailable("The ledger's service was let go of during a call.") from None


class RemoteLedger:
    """Implements `ledger.service.LedgerService` by calls to the `ledger` role."""

    def __init__(self, address: str, timeout_seconds: float) -> None:
        self.line = Line(address, timeout_seconds)

    async def aclose(self) -> None:
        """See LedgerService."""
        await self.line.aclose()


def _asking(method: Method) -> Callable[..., Any]:
    @wraps(method.function)
    async def ask(ledger: RemoteLedger, *args: object, **kwargs: object) -> object:
        return method.read_result(await ledger.line.ask(method, method.write_arguments(*args, **kwargs)))

    return ask


def _listening(method: Method) -> Callable[..., Any]:
    @wraps(method.function)
    async def listen(ledger: RemoteLedger, *args: object, **kwargs: object) -> AsyncIterator[object]:
        async for item in ledger.line.listen(method, method.write_arguments(*args, **kwargs)):
            yield method.read_result(item)

    return listen


for _method in METHODS.values():
    setattr(RemoteLedger, _method.name, _listening(_method) if _method.streams else _asking(_method))


def remote_ledger(settings: Settings, address: str) -> LedgerService:
    """The service at an address, HOST:PORT."""
    # Its methods are made from the interface, which the type checker cannot follow; a test compares the two.
    return cast("LedgerService", RemoteLedger(address, settings.ledger_timeout_seconds))
