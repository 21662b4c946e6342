"""The peer of the express lane: an endpoint that checks the same body and answers, and does nothing else.

    python -m benchmarks.lanes.endpoint PORT

It authenticates nothing, resolves nothing, stores nothing and logs nothing. Model, answer and HTTP server are ours.
"""

import sys
from datetime import UTC, datetime

import uvicorn
from fastapi import FastAPI

from api.schemas import TransferBody
from api.server import BACKLOG
from api.views import TransactionView
from domain.ids import TransactionId, WalletId
from domain.transactions import TransactionKind, TransactionStatus

app = FastAPI()


@app.post("/v1/transfers", status_code=202)
async def create_transfer(body: TransferBody) -> TransactionView:
    """As if it had been paid."""
    return TransactionView(
        transaction_id=TransactionId.new(0),
        kind=TransactionKind.TRANSFER,
        status=TransactionStatus.SUCCEEDED,
        amount=body.amount,
        currency=body.currency,
        sender_id=WalletId(body.sender_id),
        receiver_id=WalletId(body.receiver_id),
        memo=body.memo,
        effective_at=datetime.now(UTC),
    )


@app.get("/readyz")
async def readyz() -> None:
    """Nothing has to be waited for."""


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        server_header=False,
        backlog=BACKLOG,
    )
