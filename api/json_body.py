"""How a route reads its body: JSON by content type, parsed strictly and fast."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute

from domain.errors import UnsupportedMediaType

_JSON: Final = "application/json"


class JsonRequest(Request):
    """A request whose JSON must be JSON: no NaN, no lone surrogates, valid UTF-8."""

    async def json(self) -> Any:  # noqa: ANN401 - the framework's own signature
        """The parsed body. Raises json.JSONDecodeError (orjson's is one)."""
        return orjson.loads(await self.body())


class JsonRoute(APIRoute):
    """A route that says 415 to a body of another type, where FastAPI would call it a malformed object."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler FastAPI makes, on a JsonRequest."""
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            json_request = JsonRequest(request.scope, request.receive)
            if self.body_field is not None and await json_request.body():
                sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
                if sent != _JSON:
                    raise UnsupportedMediaType
            return await inner(json_request)

        return handle
