"""The peers: bare endpoints that start bare workflows. They authenticate nothing and store nothing.

    python -m benchmarks.bare PORT       the endpoints, with a worker in their process
    python -m benchmarks.bare worker     a second process that polls the same queue, as ours has one, and those of sagas

/bare is what a transfer is, /bare-saga what a deposit or a withdrawal is: nobody starts it eagerly, its workflow runs
in the second process, and its bank is a queue of its own. Each answers when its workflow has ended: there is no ledger
that would say so before. Everything else is as in our API: Temporal server, start mode, data converter, sandbox,
concurrency, HTTP server.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Final

import uvicorn
import uvloop
from fastapi import FastAPI
from pydantic import BaseModel
from temporalio.client import Client
from temporalio.worker import Worker

from api.server import BACKLOG
from benchmarks.bare_workflow import BANK_QUEUE, BareSagaWorkflow, BareWorkflow, nothing
from infra.settings import Settings, settings
from infra.temporal import connect
from worker import WORKFLOW_RUNNER

QUEUE: Final = "bare"
SAGA_QUEUE: Final = "bare-saga"


class Request(BaseModel):
    """What is asked for."""

    idempotency_key: str


class Answer(BaseModel):
    """What became of it."""

    key: str
    status: str


def build_worker(client: Client, settings: Settings) -> Worker:
    """As worker.build_transfer_worker."""
    return _build(client, settings, QUEUE, [BareWorkflow])


def build_saga_workers(client: Client, settings: Settings) -> list[Worker]:
    """As worker.build_workers: one for payments with banks, one for the bank."""
    bank = Worker(
        client,
        task_queue=BANK_QUEUE,
        activities=[nothing],
        max_concurrent_activities=settings.worker_max_concurrent,
        disable_eager_activity_execution=True,
    )
    return [_build(client, settings, SAGA_QUEUE, [BareSagaWorkflow]), bank]


def _build(client: Client, settings: Settings, queue: str, workflows: list[type]) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        workflows=workflows,
        activities=[nothing],
        workflow_runner=replace(
            WORKFLOW_RUNNER, restrictions=WORKFLOW_RUNNER.restrictions.with_passthrough_modules("benchmarks")
        ),
        max_concurrent_workflow_tasks=settings.worker_max_concurrent,
        max_concurrent_local_activities=settings.worker_max_concurrent,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.client = await connect(settings())
    async with build_worker(app.state.client, settings()):
        yield


app = FastAPI(lifespan=_lifespan)


@app.post("/bare", status_code=202)
async def bare(body: Request) -> Answer:
    """Start a workflow and wait for its result."""
    client: Client = app.state.client
    handle = await client.start_workflow(
        BareWorkflow.run, body.idempotency_key, id=body.idempotency_key, task_queue=QUEUE, request_eager_start=True
    )
    return Answer(key=await handle.result(), status="succeeded")


@app.post("/bare-saga", status_code=202)
async def bare_saga(body: Request) -> Answer:
    """Start a saga and wait for its result."""
    client: Client = app.state.client
    handle = await client.start_workflow(
        BareSagaWorkflow.run, body.idempotency_key, id=body.idempotency_key, task_queue=SAGA_QUEUE
    )
    return Answer(key=await handle.result(), status="succeeded")


@app.get("/readyz")
async def readyz() -> None:
    """The worker polls."""


async def work() -> None:
    """Poll all queues until the process is ended."""
    client = await connect(settings())
    async with AsyncExitStack() as stack:
        for worker in (build_worker(client, settings()), *build_saga_workers(client, settings())):
            await stack.enter_async_context(worker)
        await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        uvloop.run(work())
    else:
        uvicorn.run(
            app,
            port=int(sys.argv[1]),
            loop="uvloop",
            lifespan="on",
            access_log=False,
            log_level="warning",
            server_header=False,
            backlog=BACKLOG,
        )
