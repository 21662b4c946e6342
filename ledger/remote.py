"""The ledger's service in another process, as a caller sees it: the same interface, each method one call over gRPC."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final, cast

import grpc
import orjson

from domain.errors import LedgerUnavailable
from infra.settings import Settings
from ledger.service import LedgerService
from ledger.wire import MESSAGE_LIMITS, METHODS, Method, error_of

_OPTIONS: Final = (
    *MESSAGE_LIMITS,
    ("grpc.enable_http_proxy", 0),
    # An address may be a name for several servers; each gets its share of the calls.
    ("grpc.service_config", orjson.dumps({"loadBalancingConfig": [{"round_robin": {}}]}).decode()),
    # A server that was killed comes back within seconds, and so do we.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A machine that vanished without a word is noticed while calls are under way.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)


class Line:
    """A connection to the service: made when first used, in that event loop, and again whenever it must be.

    A call that is lost, or not answered in `timeout_seconds`, raises LedgerUnavailable: as with a lost database it may
    still have happened, and repeating it with the same keys gives the outcome that was recorded.
    """

    def __init__(self, address: str, timeout_seconds: float) -> None:
        self._address = address
        self._timeout_seconds = timeout_seconds
        self._channel: grpc.aio.Channel | None = None
        self._calls: dict[str, Callable[..., Any]] = {}

    async def ask(self, method: Method, payload: bytes) -> bytes:
        """One question, one answer."""
        with _named():
            answer: bytes = await self._call(method)(payload, timeout=self._timeout_seconds)
        return answer

    async def listen(self, method: Method, payload: bytes) -> AsyncIterator[bytes]:
        """One question, many answers. All of them may take long; the next one may not."""
        stream = self._call(method)(payload)
        try:
            while True:
                with _named():
                    async with asyncio.timeout(self._timeout_seconds):
                        item = await stream.read()
                if item is grpc.aio.EOF:
                    return
                yield item
        finally:
            stream.cancel()

    async def aclose(self) -> None:
        """Let go. Whoever still waits for an answer gets LedgerUnavailable."""
        if self._channel is not None:
            await self._channel.close()

    def _call(self, method: Method) -> Callable[..., Any]:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._address, options=_OPTIONS)
        if method.name not in self._calls:
            kind = self._channel.unary_stream if method.streams else self._channel.unary_unary
            self._calls[method.name] = kind(method.path)
        return self._calls[method.name]


class RemoteLedger:
    """Implements `ledger.service.LedgerService` by calls to the `ledger` role."""

    def __init__(self, address: str, timeout_seconds: float) -> None:
        self.line = Line(address, timeout_seconds)

    async def aclose(self) -> None:
        """See LedgerService."""
        await self.line.aclose()


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise error_of(error) from error
    except TimeoutError as error:
        raise LedgerUnavailable("The ledger's service does not answer (it began, and fell silent).") from error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise LedgerUnavailable("The ledger's service was let go of during a call.") from None


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
