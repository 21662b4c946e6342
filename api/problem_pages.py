"""GET /problems/{code}: what a problem's `type` points to, for people and for programs."""

from html import escape
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Response
from pydantic import BaseModel
from starlette.responses import HTMLResponse

from api.answers import answer
from api.catalogue import CATALOGUE, Meaning
from api.openapi import problems
from domain.errors import InvalidRequest, NotFound

router: Final = APIRouter(tags=["problems"])


class ProblemMeaning(BaseModel):
    """A code and what it says. Without a `status` it is a decision: recorded with the payment, answered with 202."""

    code: str
    status: int | None = None
    title: str
    meaning: str
    retryable: bool


@router.get(
    "/problems/{code}",
    response_model=ProblemMeaning,
    responses={
        200: {
            "description": "What the code says; as a page where text/html is accepted.",
            "content": {"text/html": {"schema": {"type": "string"}}},
        },
        **problems((InvalidRequest, NotFound)),
    },
    summary="What does this code mean?",
)
async def get_problem(
    code: Annotated[str, Path(max_length=64, examples=["insufficient_funds"])],
    accept: Annotated[str, Header(max_length=1000)] = "",
) -> Response:
    """Every code of every error and decision."""
    found = CATALOGUE.get(code)
    if found is None:
        raise NotFound(f"There is no code {code!r}.")
    if "text/html" in accept:
        return HTMLResponse(_page(found))
    return answer(
        ProblemMeaning(
            code=found.code,
            status=found.status,
            title=found.title,
            meaning=found.meaning,
            retryable=found.retryable,
        )
    )


def _page(found: Meaning) -> str:
    status = f"HTTP {found.status}" if found.status else "A decision, recorded with the payment; its answer is 202"
    retry = "Trying again can help; use the same idempotency key." if found.retryable else "Trying again does not help."
    title, code, meaning = escape(found.title), escape(found.code), escape(found.meaning)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<body style="font: 16px/1.5 sans-serif; max-width: 40em; margin: 3em auto">'
        f"<h1>{title}</h1><p><code>{code}</code> · {escape(status)}</p><p>{meaning}</p><p>{retry}</p></body></html>"
    )
