"""The peer: a bare endpoint that starts a bare workflow. It authenticates nothing and stores nothing.

    python -m benchmarks.bare PORT       the endpoint, with a worker in its process
    python -m benchmarks.bare worker     a second process that polls the same queue, as ours has one

It answers when the workflow has ended: there is no ledger that would say so before. Everything else is as in our API:
Temporal server, start mode, data converter, sandbox, concurrency, HTTP server.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from temporalio.client import Client
from temporalio.worker import Worker

from api.server import BACKLOG
from benchmarks.bare_workflow import BareWorkflow, nothing
from infra.settings import Settings, settings
from infra.temporal import connect
from worker import WORKFLOW_RUNNER

QUEUE: Final = "bare"


class Request(BaseModel):
    """What is asked for."""

    idempotency_key: str


class Answer(BaseModel):
    """What became of it."""

    key: str
    status: str


def build_worker(client: Client, settings: Settings) -> Worker:
    """As worker.build_transfer_worker."""
    return Worker(
        client,
        task_queue=QUEUE,
        workflows=[BareWorkflow],
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


@app.get("/readyz")
async def readyz() -> None:
    """The worker polls."""


async def work() -> None:
    """Poll the queue until the process is ended."""
    async with build_worker(await connect(settings()), settings()):
        await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        asyncio.run(work())
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
