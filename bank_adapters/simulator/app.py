"""The bank's HTTP application."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from bank_adapters.simulator.database import Database
from bank_adapters.simulator.desk import Desk
from bank_adapters.simulator.notices import Destination, send_for_ever
from bank_adapters.simulator.problems import NOT_PROCESSED, BankProblem, InvalidRequest
from bank_adapters.simulator.routes_admin import router as administration
from bank_adapters.simulator.routes_banking import router as banking
from bank_adapters.simulator.settlement import advance
from domain.clock import Clock

_PROBLEM_TYPE: Final = "application/problem+json"


def create_app(books_file: Path, clock: Clock | None = None, destination: Destination | None = None) -> FastAPI:
    """The bank over the books in `books_file`, which it makes where there are none. It tells of payments at
    `destination`, if there is one."""

    @asynccontextmanager
    async def open_desk(app: FastAPI) -> AsyncIterator[None]:
        database = Database(books_file, before=advance, clock=clock)
        app.state.desk = Desk(database)
        telling = asyncio.create_task(send_for_ever(database, destination)) if destination else None
        try:
            yield
        finally:
            if telling is not None:
                telling.cancel()
                await asyncio.wait({telling})
            database.close()

    app = FastAPI(
        title="A simulated bank",
        version="1.0.0",
        description="Links accounts, pulls and pushes money, and misbehaves on request. For development only: "
        "it asks nobody for a password.",
        lifespan=open_desk,
    )
    app.include_router(banking)
    app.include_router(administration)
    app.add_exception_handler(BankProblem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    return app


async def _on_problem(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, BankProblem)
    headers = {NOT_PROCESSED: "true"} if error.not_processed else {}
    return _problem(error.status, error.code, error.detail, headers)


async def _on_invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    details = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
    return _problem(InvalidRequest.status, InvalidRequest.code, details, {})


async def _on_http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    return _problem(error.status_code, code, str(error.detail), error.headers or {})


def _problem(status: int, code: str, detail: str, headers: Mapping[str, str]) -> JSONResponse:
    body = {
        "type": f"/problems/{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": detail,
    }
    return JSONResponse(body, status_code=status, headers=dict(headers), media_type=_PROBLEM_TYPE)
