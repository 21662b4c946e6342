"""How a route reads what it is sent: no unknown query parameter; JSON by content type, parsed strictly and fast."""

from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

import orjson
from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from domain.errors import InvalidRequest, UnsupportedMediaType

_JSON: Final = "application/json"


def _query_names(dependant: Dependant) -> Iterator[str]:
    yield from (parameter.alias for parameter in dependant.query_params)
    for needed in dependant.dependencies:
        yield from _query_names(needed)


class JsonRequest(Request):
    """A request whose JSON must be JSON: no NaN, no lone surrogates, valid UTF-8."""

    async def json(self) -> Any:  # noqa: ANN401 - the framework's own signature
        """The parsed body. Raises json.JSONDecodeError (orjson's is one)."""
        return orjson.loads(await self.body())


class JsonRoute(APIRoute):
    """A strict route.

    It says 415 to a body of another type, where FastAPI would call it a malformed object, and 400 to a query parameter
    that it does not have, where FastAPI would leave it unread: a misspelt `limit` is no page of another size.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler FastAPI makes, on a JsonRequest."""
        inner = super().get_route_handler()
        known = frozenset(_query_names(self.dependant))

        async def handle(request: Request) -> Response:
            if unknown := request.query_params.keys() - known:
                raise InvalidRequest(f"There is no query parameter {min(unknown)!r:.100} here.")
            json_request = JsonRequest(request.scope, request.receive)
            if self.body_field is not None and await json_request.body():
                sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
                if sent != _JSON:
                    raise UnsupportedMediaType
            return await inner(json_request)

        return handle
