"""The API's composition root: routes, middleware, and the life of what they reach."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI

from api import (
    attention,
    attention_workflows,
    bank_accounts,
    bank_events,
    batches,
    health,
    history,
    holds,
    micro_deposits,
    notification_preferences,
    openapi,
    payments,
    problem_pages,
    problems,
    reference_page,
    transactions,
    users,
    wallet_rules,
    wallets,
    webhook_deliveries,
    webhook_endpoints,
    write_offs,
)
from api.backends import open_backends
from api.middleware import BodyLimit, RequestContext
from api.temporal_link import HostedWorker
from domain.clock import Clock
from infra.clock import business_clock
from infra.settings import Settings

_DESCRIPTION: Final = """
Open wallets, link bank accounts, deposit, withdraw, and pay each other.

- Amounts are integers of minor units (cents), with an ISO 4217 currency.
- Every POST wants an idempotency key. The same key and body give the same answer for ever; another body is a 422.
- A payment that is decided against (funds, frozen …) is still answered with 202: its `status` is `failed`.
- Errors are RFC 9457 problems with a stable `code`; `type` says more. After a 503, repeat with the same key.
"""


def create_app(settings: Settings, hosted_worker: HostedWorker | None = None, *, clock: Clock | None = None) -> FastAPI:
    """The API. `hosted_worker` makes the transfer worker that this process hosts where the settings say so.

    Nothing is connected before the application's lifespan begins; no server has to be up for it to begin.
    """
    backends = open_backends(settings, hosted_worker, clock or business_clock(settings))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await backends.start()
        try:
            yield
        finally:
            await backends.aclose()

    app = FastAPI(
        title="Sagapay",
        version=version("sagapay"),
        summary="A digital wallet: money is never lost, never created and never moved twice.",
        description=_DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        # Nobody listens to the framework's own, which asks that of the environment with each request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.backends = backends
    # Routes are tried in this order: the busiest first.
    for part in (
        payments,
        transactions,
        wallets,
        history,
        batches,
        holds,
        wallet_rules,
        write_offs,
        attention_workflows,  # before the payments, whose path it looks like
        attention,
        users,
        notification_preferences,
        micro_deposits,
        bank_accounts,
        bank_events,
        webhook_endpoints,
        webhook_deliveries,
        health,
        problem_pages,
    ):
        app.include_router(part.router)
    problems.install(app)
    openapi.install(app)
    reference_page.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(RequestContext)
    return app
