"""The outermost layers: bodies are counted as they arrive, and what nobody foresaw tells nothing."""

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from api.middleware import BodyLimit, RequestContext

LIMIT = 100


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers with the body it got."""
    await Response(await Request(scope, receive).body())(scope, receive, send)


async def ask(app: object, pieces: list[bytes], headers: dict[str, str] | None = None) -> tuple[int, bytes, int]:
    """Send a POST in pieces: the status, the body, and how many pieces were left unread."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(k.encode(), v.encode()) for k, v in (headers or {}).items()],
    }
    waiting = list(pieces)
    sent: list[Message] = []

    async def receive() -> Message:
        if not waiting:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)  # type: ignore[operator]
    if not sent:
        return 0, b"", len(waiting)
    return sent[0]["status"], b"".join(part.get("body", b"") for part in sent[1:]), len(waiting)


@pytest.mark.parametrize("pieces", [[b"x" * LIMIT], [b"x" * 50, b"x" * 50], [b"x"] * LIMIT, [b""]])
async def test_a_body_within_the_limit_arrives_whole(pieces: list[bytes]) -> None:
    assert await ask(BodyLimit(echo, LIMIT), pieces) == (200, b"".join(pieces), 0)


async def test_reading_ends_at_the_first_piece_too_many() -> None:
    status, body, unread = await ask(BodyLimit(echo, LIMIT), [b"x" * 60] * 10)
    assert (status, unread) == (413, 8)
    assert b"body_too_large" in body


async def test_a_promise_too_large_is_not_read_at_all() -> None:
    status, _, unread = await ask(BodyLimit(echo, LIMIT), [b"x"], {"content-length": "101"})
    assert (status, unread) == (413, 1)
    status, _, _ = await ask(BodyLimit(echo, LIMIT), [b"x"], {"content-length": "9" * 5000})
    assert status == 413


async def test_a_lying_or_broken_length_is_no_way_round() -> None:
    for promised in ("5", "-1", "²", "none"):
        status, _, _ = await ask(BodyLimit(echo, LIMIT), [b"x" * 101], {"content-length": promised})
        assert status == 413


async def test_half_a_body_is_no_request() -> None:
    async def never(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError("the application was called")

    async def hung_up() -> Message:
        return {"type": "http.disconnect"}

    async def unheard(_message: Message) -> None:
        raise AssertionError("somebody answered")

    await BodyLimit(never)({"type": "http", "method": "POST", "path": "/", "headers": []}, hung_up, unheard)


async def test_what_nobody_foresaw_is_a_problem_that_tells_nothing() -> None:
    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ZeroDivisionError("sk_secret in a message")

    status, body, _ = await ask(RequestContext(broken), [b""])
    assert status == 500
    assert b"internal_error" in body
    assert b"ZeroDivision" not in body
    assert b"sk_secret" not in body
