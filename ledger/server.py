"""The `ledger` role: the ledger's service in a process of its own, where the calls of all workers and the API meet."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from functools import partial
from typing import Any, Final, TypeVar

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio
from prometheus_client import Counter, Gauge

from domain.errors import InternalError, LedgerBusy, LedgerUnavailable, SagapayError
from infra.role import Backoff, Life, run_role
from infra.settings import Settings
from infra.telemetry import REGISTRY
from ledger.local import LocalLedger
from ledger.service import LedgerService
from ledger.wire import (
    ERROR_CODE,
    EXCHANGE,
    LEAVE,
    LONGEST_DETAIL,
    MESSAGE_LIMITS,
    METHODS,
    SERVICE,
    Method,
    Outbox,
    answer,
    asked,
    lines_of,
    refusal,
    status_of,
)

DRAIN_SECONDS: Final = 5.0
ABANDON_SECONDS: Final = 2.0
"""How much longer calls may take whose callers have gone."""
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 2.0
_OPTIONS: Final = (
    *MESSAGE_LIMITS,
    ("grpc.so_reuseport", 0),  # A second server on this port is a mistake, not a partner.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)

CALLS = Counter("sagapay_ledger_calls_total", "Calls answered.", ["method", "outcome"], registry=REGISTRY)
RUNNING = Gauge("sagapay_ledger_calls_running", "Calls under way.", registry=REGISTRY)

Result = TypeVar("Result")
Write = Callable[[bytes], Awaitable[None]]
Context = grpc.aio.ServicerContext[bytes, bytes]
log = structlog.get_logger(__name__)


class Calls:
    """Carries calls out, at most `limit` at a time; a further one is refused with LedgerBusy before it has begun.

    A call that has begun goes to its end even when its caller has gone: the outcome is recorded for the repetition.
    """

    def __init__(self, ledger: LedgerService, limit: int) -> None:
        self._ledger = ledger
        self._limit = limit
        self._running: set[asyncio.Task[Any]] = set()

    def result(self, method: Method, arguments: bytes) -> asyncio.Task[bytes]:
        """Begin a call; the task has its result. Raises LedgerBusy."""
        return self._begin(method, self._result(method, arguments))

    def items(self, method: Method, arguments: bytes, write: Write) -> asyncio.Task[None]:
        """Begin to write a call's items. Raises LedgerBusy."""
        return self._begin(method, self._items(method, arguments, write))

    async def finished(self, seconds: float) -> bool:
        """Wait for what is under way, at most so long; whether all of it has ended."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        return not self._running

    def _begin(self, method: Method, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        if len(self._running) >= self._limit:
            work.close()
            CALLS.labels(method.name, LedgerBusy.code).inc()
            raise LedgerBusy
        task = asyncio.create_task(_reported(method, work))
        self._running.add(task)
        task.add_done_callback(self._ended)
        RUNNING.set(len(self._running))
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        RUNNING.set(len(self._running))
        if not task.cancelled():
            task.exception()  # Seen, also where the caller has gone.

    async def _result(self, method: Method, arguments: bytes) -> bytes:
        call = getattr(self._ledger, method.name)
        return method.write_result(await call(**method.read_arguments(arguments)))

    async def _items(self, method: Method, arguments: bytes, write: Write) -> None:
        call = getattr(self._ledger, method.name)
        async with aclosing(call(**method.read_arguments(arguments))) as items:
            async for item in items:
                await write(method.write_result(item))


class Exchange:
    """One caller's questions, each answered when it is done. Ends when the caller asks no more and has all answers."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._outbox = Outbox()
        self._open: set[asyncio.Task[bytes]] = set()

    async def run(self, frames: AsyncIterator[bytes], write: Write) -> None:
        """Until the caller has gone, or its end is reached."""
        sending = asyncio.create_task(self._outbox.send(write))
        try:
            async for frame in frames:
                for line in lines_of(frame):
                    self._take(line)
            if self._open:
                await asyncio.wait(self._open)
            self._outbox.close()
            await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    def leave(self) -> None:
        """Tell the caller to ask somebody else from now on."""
        self._outbox.put(LEAVE)

    def _take(self, line: bytes) -> None:
        number, method, arguments = asked(line)
        if method is None:  # While a new version is rolled out, another server may know it.
            self._outbox.put(refusal(number, LedgerUnavailable("This ledger's service does not know the method.")))
            return
        try:
            task = self._calls.result(method, arguments)
        except LedgerBusy as busy:
            self._outbox.put(refusal(number, busy))
            return
        self._open.add(task)
        task.add_done_callback(partial(self._answer, number))

    def _answer(self, number: int, task: asyncio.Task[bytes]) -> None:
        self._open.discard(task)
        if task.cancelled():
            self._outbox.put(refusal(number, LedgerUnavailable()))
        elif (error := task.exception()) is None:
            self._outbox.put(answer(number, task.result()))
        else:
            self._outbox.put(refusal(number, error if isinstance(error, SagapayError) else InternalError()))


class Service:
    """What a gRPC server is given: the exchange, and every method that answers with a stream."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._exchanges: set[Exchange] = set()

    def handler(self) -> grpc.GenericRpcHandler:
        """All of it."""
        handlers = {method.name: self._stream(method) for method in METHODS.values() if method.streams}
        handlers[EXCHANGE] = grpc.stream_stream_rpc_method_handler(self._exchange)
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def leave(self) -> None:
        """Tell every caller to ask somebody else from now on."""
        for exchange in self._exchanges:
            exchange.leave()

    async def _exchange(self, frames: AsyncIterator[bytes], context: Context) -> None:
        exchange = Exchange(self._calls)
        self._exchanges.add(exchange)
        try:
            await exchange.run(frames, context.write)
        finally:
            self._exchanges.discard(exchange)

    def _stream(self, method: Method) -> "grpc.RpcMethodHandler[bytes, bytes]":
        async def tell(arguments: bytes, context: Context) -> None:
            try:
                await self._calls.items(method, arguments, context.write)
            except SagapayError as error:
                detail, code = error.detail[:LONGEST_DETAIL], ((ERROR_CODE, error.code),)
                await context.abort(status_of(error), detail, code)

        return grpc.unary_stream_rpc_method_handler(tell)


async def _reported(method: Method, work: Coroutine[Any, Any, Result]) -> Result:
    try:
        result = await work
    except SagapayError as error:
        CALLS.labels(method.name, error.code).inc()
        raise
    except Exception as error:
        log.exception("ledger.call_broke", method=method.name)
        CALLS.labels(method.name, InternalError.code).inc()
        raise InternalError from error
    CALLS.labels(method.name, "ok").inc()
    return result


async def serve(settings: Settings, life: Life) -> None:
    """Answer calls until the role is asked to end, then finish those that have begun.

    Ready, and healthy to gRPC's health service, once the ledger has answered; one shard that is down does not matter.
    """
    ledger = LocalLedger(settings)
    calls = Calls(ledger, settings.ledger_max_concurrent)
    health = aio.HealthServicer()
    server = grpc.aio.server(options=_OPTIONS)
    service = Service(calls)
    server.add_generic_rpc_handlers([service.handler()])
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    address = f"{settings.ledger_host}:{settings.ledger_port}"
    try:
        await _tell(health, serving=False)
        server.add_insecure_port(address)
        await server.start()
        if await _answered(ledger, life):
            await _tell(health, serving=True)
            life.ready()
            await life.until_stopped()
        await health.enter_graceful_shutdown()
        service.leave()
        await server.stop(DRAIN_SECONDS)
        if not await calls.finished(ABANDON_SECONDS):
            log.warning("ledger.calls_abandoned")
    finally:
        await ledger.aclose()


async def _tell(health: aio.HealthServicer, *, serving: bool) -> None:
    states = health_pb2.HealthCheckResponse
    for service in ("", SERVICE):
        await health.set(service, states.SERVING if serving else states.NOT_SERVING)


async def _answered(ledger: LedgerService, life: Life) -> bool:
    backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
    while not life.stopping:
        try:
            await ledger.ping()
        except LedgerUnavailable as error:
            log.warning("waiting for the ledger's databases", error=error.detail)
            await life.pause(backoff.next_seconds())
        else:
            return True
    return False


def run(settings: Settings) -> None:
    """The `ledger` role."""
    run_role("ledger", settings, lambda life: serve(settings, life))
