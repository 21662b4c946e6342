"""The bank's process: the application on uvicorn, over the books below the state directory."""

import socket
from pathlib import Path
from typing import Final

import uvicorn
from fastapi import FastAPI

from bank_adapters.simulator.app import create_app
from bank_adapters.simulator.notices import Destination
from infra.settings import Settings

# Longer than the platform keeps an idle connection: a request must never meet the closing of one.
_KEEP_ALIVE_SECONDS: Final = 75
_GRACE_SECONDS: Final = 2


class _BankServer(uvicorn.Server):
    """Lets go of the requests that hang on purpose before it waits for the rest."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.desk.leave()
        await super().shutdown(sockets)


def books_file(settings: Settings) -> Path:
    """Where the bank keeps its books."""
    return settings.state_dir / "data" / "bank.sqlite3"


def run(settings: Settings) -> None:
    """Serve at `bank_host`:`bank_port` until SIGTERM or SIGINT. Exits non-zero if the port is taken."""
    app = create_app(books_file(settings), destination=Destination.from_settings(settings))
    config = uvicorn.Config(
        app,
        host=settings.bank_host,
        port=settings.bank_port,
        log_level=settings.log_level.lower(),
        access_log=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    _BankServer(config, app).run()
