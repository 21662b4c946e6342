"""What an adapter makes of a bank, or of a proxy before one, that answers badly: certain is only what is certain."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.failures import as_failures
from bank_adapters.port import BankAdapter, NotSeen, PaymentInstruction
from bank_adapters.registry import bank_names, open_bank
from bank_adapters.simulated.adapter import SimulatedBank
from domain.errors import BankUnavailable, BankUnknown, UnknownBank
from domain.money import Money
from infra.settings import Settings

ASKED = PaymentInstruction(reference="txn_1:pull", account_token="at_1", amount=Money(100, "USD"))
PAYMENT: dict[str, object] = {
    "reference": "txn_1:pull",
    "payment_id": "bp_1",
    "direction": "pull",
    "amount": 100,
    "currency": "USD",
    "rail": "instant",
    "state": "settled",
    "settled_at": "2026-03-02T15:04:05Z",
}
NOT_PROCESSED = "X-Not-Processed: true\r\n"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(handler: Handler) -> AsyncIterator[SimulatedBank]:
    """The adapter before a socket that does as `handler` says, once the request has arrived."""

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        headers = dict(line.split(b": ", 1) for line in head.lower().strip().split(b"\r\n")[1:])
        await reader.readexactly(int(headers.get(b"content-length", 0)))
        await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    bank = SimulatedBank(f"http://127.0.0.1:{port}", request_timeout_seconds=0.5)
    try:
        yield bank
    finally:
        await bank.aclose()
        server.close()
        await server.wait_closed()


def saying(status: str, body: str, headers: str = "") -> Handler:
    """Answer with exactly this."""
    text = f"HTTP/1.1 {status}\r\nContent-Length: {len(body.encode())}\r\nConnection: close\r\n{headers}\r\n{body}"

    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text.encode())
        await writer.drain()

    return handler


async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Say nothing until the caller gives up."""
    await reader.read()


async def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Cut the connection with a reset."""
    writer.transport.abort()


async def stop_halfway(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Half an answer, then the end."""
    writer.write(b'HTTP/1.1 201 Created\r\nContent-Length: 400\r\n\r\n{"reference": "txn')
    await writer.drain()


UNCERTAIN: dict[str, Handler] = {
    "time-out": hang,
    "reset": reset,
    "half an answer": stop_halfway,
    "500": saying("500 Internal Server Error", "{}"),
    "502 of a proxy": saying("502 Bad Gateway", "<html>"),
    "503 without a promise": saying("503 Service Unavailable", "{}"),
    "504": saying("504 Gateway Timeout", "{}"),
    "500 with the promise of a 503": saying("500 Internal Server Error", "{}", NOT_PROCESSED),
    "redirect": saying("307 Temporary Redirect", "", "Location: http://127.0.0.1:1/\r\n"),
    "page instead of JSON": saying("200 OK", "<html>welcome</html>"),
    "JSON that is no payment": saying("200 OK", '{"ok": true}'),
    "empty": saying("200 OK", ""),
    "unexplained 404": saying("404 Not Found", "<html>"),
    "refused request": saying("422 Unprocessable Content", '{"code": "invalid_request", "detail": "no"}'),
    "another amount": saying("200 OK", json.dumps({**PAYMENT, "amount": 101})),
    "another currency": saying("200 OK", json.dumps({**PAYMENT, "currency": "EUR"})),
    "another reference": saying("200 OK", json.dumps({**PAYMENT, "reference": "txn_2:pull"})),
    "the other direction": saying("200 OK", json.dumps({**PAYMENT, "direction": "push"})),
    "an amount that is none": saying("200 OK", json.dumps({**PAYMENT, "amount": -100})),
    "an amount as text": saying("200 OK", json.dumps({**PAYMENT, "amount": "100"})),
    "another rail": saying("200 OK", json.dumps({**PAYMENT, "rail": "ach"})),
    "a return without its code": saying("200 OK", json.dumps({**PAYMENT, "state": "returned"})),
    "a state nobody knows": saying("200 OK", json.dumps({**PAYMENT, "state": "maybe"})),
}


@pytest.mark.parametrize("how", UNCERTAIN)
async def test_an_answer_that_leaves_it_open_is_unknown(how: str) -> None:
    async with answering(UNCERTAIN[how]) as bank:
        with pytest.raises(BankUnknown) as caught:
            await bank.pull(ASKED)
    assert caught.value.detail


@pytest.mark.parametrize("status", ["503 Service Unavailable", "429 Too Many Requests"])
async def test_a_promise_not_to_have_processed_is_unavailable(status: str) -> None:
    async with answering(saying(status, "{}", NOT_PROCESSED)) as bank:
        with pytest.raises(BankUnavailable):
            await bank.pull(ASKED)


@pytest.mark.parametrize(
    ("told", "delay"),
    [("7", timedelta(seconds=7)), ("86400", timedelta(seconds=300)), ("soon", None), ("-1", None)],
)
@pytest.mark.parametrize("promise", [NOT_PROCESSED, ""])
async def test_a_bank_that_says_when_to_come_back_is_obeyed_within_reason(
    told: str, delay: timedelta | None, promise: str
) -> None:
    async with answering(saying("503 Service Unavailable", "{}", f"{promise}Retry-After: {told}\r\n")) as bank:
        failure = await failure_of(bank, attempt=1)
    assert failure.type == ("bank_unavailable" if promise else "bank_unknown")
    assert failure.next_retry_delay == delay


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 7), (5, 7), (6, 1.5**5), (11, 1.5**10), (12, 60), (500, 60)])
async def test_who_waits_long_is_tried_ever_more_rarely_whatever_the_bank_says(attempt: int, seconds: float) -> None:
    async with answering(saying("503 Service Unavailable", "{}", f"{NOT_PROCESSED}Retry-After: 7\r\n")) as bank:
        failure = await failure_of(bank, attempt)
    assert failure.next_retry_delay == timedelta(seconds=seconds)


async def failure_of(bank: BankAdapter, attempt: int) -> ApplicationError:
    """What becomes of a pull that fails in this attempt of its activity."""

    async def pull() -> None:
        with as_failures():
            await bank.pull(ASKED)

    environment = ActivityEnvironment()
    environment.info = replace(environment.info, attempt=attempt)
    with pytest.raises(ApplicationError) as failed:
        await environment.run(pull)
    return failed.value


async def test_a_good_answer_is_read_whatever_else_the_bank_adds() -> None:
    async with answering(saying("201 Created", json.dumps({**PAYMENT, "new_field": [1]}))) as bank:
        payment = await bank.pull(ASKED)
    assert (payment.bank_payment_id, payment.amount) == ("bp_1", Money(100, "USD"))


async def test_only_the_banks_own_word_is_not_seen() -> None:
    async with answering(saying("404 Not Found", '{"code": "payment_not_seen", "detail": ""}')) as bank:
        assert await bank.look_up("txn_1:pull") == NotSeen(reference="txn_1:pull")
    for body in ("<html>404</html>", '{"code": "not_found"}', "{}", ""):
        async with answering(saying("404 Not Found", body)) as bank:
            with pytest.raises(BankUnknown):
                await bank.look_up("txn_1:pull")


async def test_a_look_up_answered_about_another_reference_is_unknown() -> None:
    async with answering(saying("200 OK", json.dumps({**PAYMENT, "reference": "txn_2:pull"}))) as bank:
        with pytest.raises(BankUnknown):
            await bank.look_up("txn_1:pull")


async def test_the_registry_makes_the_adapter_and_names_what_it_has() -> None:
    settings = Settings()
    for name in bank_names():
        bank = open_bank(name, settings)
        assert bank.name == name
        await bank.aclose()
    with pytest.raises(UnknownBank, match="simulator"):
        open_bank("first_national", settings)
