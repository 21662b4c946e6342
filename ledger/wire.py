"""The ledger's service on the wire, derived from its interface: no method is named here, so a new one is carried too.

A call is one gRPC message of JSON, the arguments by their names; the answer is its result, or for a method that returns
an AsyncIterator a stream with one item a message. Values are read and written by pydantic as the interface annotates
them. An error of the domain travels as its code and detail, and is raised as itself on the other side.
"""

import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import MISSING, dataclass, field, make_dataclass
from typing import Any, Final, get_args, get_origin, get_type_hints

import grpc
from pydantic import TypeAdapter

from domain import errors
from domain.errors import InternalError, LedgerBusy, LedgerUnavailable, SagapayError, Unavailable
from ledger.service import LedgerService

SERVICE: Final = "sagapay.ledger.v1.Ledger"
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
        return _ERRORS.get(str(code), InternalError)(error.details())
    if error.code() in _LOST:
        return LedgerUnavailable(f"The ledger's service does not answer ({error.code().name.lower()}).")
    return InternalError(f"The ledger's service failed ({error.code().name.lower()}: {error.details()}).")
