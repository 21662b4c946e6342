"""The ledger over the wire: every method, argument, result and error of its interface arrives as it was sent."""

import asyncio
import inspect
from typing import Any, get_type_hints

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain import errors
from domain.errors import InternalError, LedgerUnavailable, SagapayError
from ledger.local import LocalLedger
from ledger.remote import RemoteLedger
from ledger.service import LedgerService
from ledger.wire import (
    ERROR_CODE,
    FRAME_BYTES,
    METHODS,
    NOT_CARRIED,
    Method,
    Outbox,
    answer,
    answered,
    asked,
    error_of,
    lines_of,
    question,
    refusal,
    status_of,
)
from tests.property.anything import anatomy, anything

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
INTERFACE = {name for name in dir(LedgerService) if not name.startswith("_")}
ERRORS = sorted(
    {kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, SagapayError)}
    - {SagapayError},
    key=lambda kind: kind.__name__,
)


def test_every_method_is_carried() -> None:
    assert METHODS.keys() | NOT_CARRIED == INTERFACE
    assert {name for name in dir(RemoteLedger) if not name.startswith("_")} == INTERFACE


@pytest.mark.parametrize("name", sorted(INTERFACE))
def test_a_method_looks_the_same_from_both_ends(name: str) -> None:
    promised = inspect.signature(getattr(LedgerService, name))
    assert inspect.signature(getattr(RemoteLedger, name)) == promised
    assert inspect.signature(getattr(LocalLedger, name)) == promised
    streams = name in METHODS and METHODS[name].streams
    assert inspect.iscoroutinefunction(getattr(LocalLedger, name)) != streams


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@QUICK
@given(st.data())
def test_arguments_arrive_as_they_were_sent(method: Method, data: st.DataObject) -> None:
    hints = get_type_hints(method.function)
    sent: dict[str, Any] = {
        name: data.draw(anything(hint), label=name) for name, hint in hints.items() if name != "return"
    }
    (line,) = lines_of(question(7, method, method.write_arguments(**sent)))
    number, known, arguments = asked(line)
    assert (number, known) == (7, method)
    assert anatomy(method.read_arguments(arguments)) == anatomy(sent)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@QUICK
@given(st.data())
def test_results_arrive_as_they_were_sent(method: Method, data: st.DataObject) -> None:
    sent = data.draw(anything(method.result))
    (line,) = lines_of(answer(8, method.write_result(sent)))
    number, result = answered(line)
    assert isinstance(result, bytes)
    assert (number, anatomy(method.read_result(result))) == (8, anatomy(sent))


def test_arguments_are_bound_as_a_call_binds_them() -> None:
    begin, entries = METHODS["find_key"], METHODS["entries"]
    assert begin.write_arguments("00", "wal_x") == begin.write_arguments(near="wal_x", key_digest="00")
    with pytest.raises(TypeError):
        entries.write_arguments("wal_x", None, 10)  # by name only
    with pytest.raises(TypeError):
        begin.write_arguments("00")


def _failed(status: grpc.StatusCode, detail: str, *metadata: tuple[str, str]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(status, grpc.aio.Metadata(), grpc.aio.Metadata(*metadata), details=detail)


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_arrives_as_itself(kind: type[SagapayError]) -> None:
    raised = kind("Zu wenig:\n12,34 €.")
    (line,) = lines_of(refusal(9, raised))
    answers = [answered(line)[1], error_of(_failed(status_of(raised), raised.detail, (ERROR_CODE, raised.code)))]
    for arrived in answers:
        assert type(arrived) is kind
        assert vars(arrived) == vars(raised)


@pytest.mark.parametrize("status", list(grpc.StatusCode))
def test_a_call_without_our_error_is_an_outage_or_a_bug(status: grpc.StatusCode) -> None:
    lost = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNIMPLEMENTED"}
    expected = LedgerUnavailable if status.name in lost else InternalError
    assert type(error_of(_failed(status, "gone"))) is expected
    assert error_of(_failed(status, "gone")).retryable


def test_a_method_of_a_newer_caller_is_not_known() -> None:
    assert asked(b'12 invent {"a":1}') == (12, None, b'{"a":1}')


async def test_lines_that_gather_leave_together_in_order_and_in_frames_of_bounded_size() -> None:
    outbox, frames = Outbox(), list[bytes]()
    lines = [b"%d %s" % (number, b"x" * (FRAME_BYTES // 10)) for number in range(35)]

    async def write(frame: bytes) -> None:
        frames.append(frame)
        await asyncio.sleep(0)

    sending = asyncio.create_task(outbox.send(write))
    for line in lines:
        outbox.put(line)
    await asyncio.sleep(0.01)
    assert not sending.done()
    outbox.close()
    await sending
    assert [line for frame in frames for line in lines_of(frame)] == lines
    assert [len(lines_of(frame)) for frame in frames] == [10, 10, 10, 5]


def test_an_error_of_a_newer_server_is_an_internal_one() -> None:
    arrived = error_of(_failed(grpc.StatusCode.UNAVAILABLE, "What?", (ERROR_CODE, "not_yet_invented")))
    assert (type(arrived), arrived.detail) == (InternalError, "What?")
    _, refused = answered(b'3 not_yet_invented "What?"')
    assert (type(refused), str(refused)) == (InternalError, "What?")
