"""Successful answers on the wire, written by pydantic's own serialiser and not a second time by the framework."""

from pydantic import BaseModel
from starlette.responses import Response

from api.idempotency import REPLAYED_HEADER

JSON = "application/json"


def answer(view: BaseModel, status: int = 200, *, location: str | None = None, replayed: bool = False) -> Response:
    """A view as JSON. Fields without a value are left out."""
    headers = {}
    if location is not None:
        headers["Location"] = location
    if replayed:
        headers[REPLAYED_HEADER] = "true"
    return raw_answer(view.model_dump_json(exclude_none=True).encode(), status, headers)


def raw_answer(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON that was written before."""
    return Response(content, status_code=status, headers=headers, media_type=JSON)
