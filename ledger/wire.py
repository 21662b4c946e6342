"""The ledger's service on the wire, derived from its interface: no method is named here, so a new one is carried too.

Arguments by their names, and results, are JSON that pydantic writes and reads as the interface annotates them. An error
of the domain travels as its code and detail, and is raised as itself on the other side.

A process has one exchange with the service, a gRPC stream each way. A message is a frame of many lines: questions
`NUMBER METHOD ARGUMENTS`, answers `NUMBER = RESULT` or `NUMBER CODE DETAIL`, in any order. One call of gRPC's own for
each would cost more than a posting. A method that returns an AsyncIterator is such a call, with an item a message.
"""

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import MISSING, dataclass, field, make_dataclass
from typing import Any, Final, get_args, get_origin, get_type_hints

import grpc
import orjson
from pydantic import TypeAdapter

from domain import errors
from domain.errors import InternalError, LedgerBusy, LedgerUnavailable, SagapayError, Unavailable
from ledger.service import LedgerService

SERVICE: Final = "sagapay.ledger.v1.Ledger"
EXCHANGE: Final = "exchange"
LEAVE: Final = b"!"
"""The service's word that it is going to stop: ask somebody else from now on, this exchange only ends."""
FRAME_BYTES: Final = 256 * 1024
"""A frame with more than this takes no further line."""
ERROR_CODE: Final = "sagapay-error-code"
"""The trailing metadata that carries an error's code; its detail is the status' message."""
LONGEST_DETAIL: Final = 2000
LARGEST_MESSAGE_BYTES: Final = 16 * 1024 * 1024
MESSAGE_LIMITS: Final = (
    ("grpc.max_send_message_length", LARGEST_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", LARGEST_MESSAGE_BYTES),
)
NOT_CARRIED: Final = frozenset({"aclose"})
"""What concerns the caller's own end of the line."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method of LedgerService, and how its arguments and its result (or each item of it) become bytes."""

    name: str
    function: Callable[..., Any]
    arguments: type[Any]
    result: Any
    streams: bool
    _arguments: TypeAdapter[Any]
    _result: TypeAdapter[Any]

    @property
    def path(self) -> str:
        """What gRPC calls it."""
        return f"/{SERVICE}/{self.name}"

    def write_arguments(self, *args: object, **kwargs: object) -> bytes:
        """A call's arguments. Raises TypeError where they are not the method's."""
        return self._arguments.dump_json(self.arguments(*args, **kwargs))

    def read_arguments(self, payload: bytes) -> dict[str, Any]:
        """The arguments by name. Raises ValidationError for what the other side cannot have meant."""
        arguments: dict[str, Any] = vars(self._arguments.validate_json(payload))
        return arguments

    def write_result(self, value: object) -> bytes:
        """A result, or one item of it."""
        return self._result.dump_json(value)

    def read_result(self, payload: bytes) -> Any:  # noqa: ANN401  -- as the method's annotation says
        """A result, or one item of it. Raises ValidationError."""
        return self._result.validate_json(payload)


def _method(name: str, function: Callable[..., Any]) -> Method:
    hints = get_type_hints(function)
    result = hints.pop("return")
    streams = get_origin(result) is AsyncIterator
    if streams:
        (result,) = get_args(result)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    # A dataclass binds positional and named arguments to the method's names, as a call would.
    arguments = make_dataclass(
        f"{name}_arguments",
        [
            (
                parameter.name,
                hints[parameter.name],
                field(
                    default=MISSING if parameter.default is parameter.empty else parameter.default,
                    kw_only=parameter.kind is parameter.KEYWORD_ONLY,
                ),
            )
            for parameter in parameters
        ],
    )
    return Method(name, function, arguments, result, streams, TypeAdapter(arguments), TypeAdapter(result))


METHODS: Final[Mapping[str, Method]] = {
    name: _method(name, function)
    for name, function in inspect.getmembers(LedgerService, inspect.isfunction)
    if not name.startswith("_") and name not in NOT_CARRIED
}

_ERRORS: Final[Mapping[str, type[SagapayError]]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, SagapayError) and kind is not SagapayError
}
_STATUS_OF_HTTP: Final = {404: grpc.StatusCode.NOT_FOUND, 500: grpc.StatusCode.INTERNAL}
_LOST: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNIMPLEMENTED,  # an older server, while a new version is rolled out
    }
)


class Outbox:
    """Lines that leave together: whatever gathers while a frame is written is the next frame."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._closed = False
        self._changed = asyncio.Event()

    def put(self, line: bytes) -> None:
        """Send it soon."""
        self._lines.append(line)
        self._changed.set()

    def close(self) -> None:
        """Let `send` return when all is sent."""
        self._closed = True
        self._changed.set()

    async def send(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Write frames until closed."""
        while True:
            while self._lines:
                await write(self._frame())
            if self._closed:
                return
            self._changed.clear()
            await self._changed.wait()

    def _frame(self) -> bytes:
        lines, size = list[bytes](), 0
        while self._lines and size < FRAME_BYTES:
            lines.append(self._lines.popleft())
            size += len(lines[-1])
        return b"\n".join(lines)


def lines_of(frame: bytes) -> list[bytes]:
    """JSON has no line break of its own."""
    return frame.split(b"\n")


def question(number: int, method: Method, arguments: bytes) -> bytes:
    """A line that asks."""
    return b"%d %s %s" % (number, method.name.encode(), arguments)


def asked(line: bytes) -> tuple[int, Method | None, bytes]:
    """Number, method (None for one of a newer caller) and arguments."""
    number, name, arguments = line.split(b" ", 2)
    return int(number), METHODS.get(name.decode()), arguments


def answer(number: int, result: bytes) -> bytes:
    """A line that answers."""
    return b"%d = %s" % (number, result)


def refusal(number: int, error: SagapayError) -> bytes:
    """A line that says why not."""
    return b"%d %s %s" % (number, error.code.encode(), orjson.dumps(error.detail))


def answered(line: bytes) -> tuple[int, bytes | SagapayError]:
    """The number of the question, and what came of it."""
    number, mark, rest = line.split(b" ", 2)
    return int(number), rest if mark == b"=" else _error(mark.decode(), orjson.loads(rest))


def _error(code: str, detail: str | None) -> SagapayError:
    return _ERRORS.get(code, InternalError)(detail)


def status_of(error: SagapayError) -> grpc.StatusCode:
    """The gRPC status that people and tools which know nothing of us understand."""
    if isinstance(error, LedgerBusy):
        return grpc.StatusCode.RESOURCE_EXHAUSTED
    if isinstance(error, Unavailable):
        return grpc.StatusCode.UNAVAILABLE
    return _STATUS_OF_HTTP.get(error.status, grpc.StatusCode.FAILED_PRECONDITION)


def error_of(error: grpc.aio.AioRpcError) -> SagapayError:
    """What a failed call means: the server's own error, or LedgerUnavailable where there was no answer in time."""
    metadata = error.trailing_metadata()
    code = metadata.get(ERROR_CODE) if metadata else None
    if code is not None:
        return _error(str(code), error.details())
    if error.code() in _LOST:
        return LedgerUnavailable(f"The ledger's service does not answer ({error.code().name.lower()}).")
    return InternalError(f"The ledger's service failed ({error.code().name.lower()}: {error.details()}).")
