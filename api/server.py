"""The `api` role: uvicorn on uvloop, which drains before it ends."""

import socket
from typing import Final

import uvicorn

from api.app import create_app
from api.backends import Backends
from api.temporal_link import HostedWorker
from infra.role import rest_collector
from infra.settings import Settings
from infra.telemetry import configure_logging

DRAIN_SECONDS: Final = 10
BACKLOG: Final = 2048


class DrainingServer(uvicorn.Server):
    """Stops accepting, answers those who wait for a payment's end at once, and lets running requests finish."""

    def __init__(self, config: uvicorn.Config, backends: Backends) -> None:
        super().__init__(config)
        self._backends = backends

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        self._backends.waiting.stop()
        await super().shutdown(sockets)


def make_server(settings: Settings, hosted_worker: HostedWorker | None) -> DrainingServer:
    """A server for the API at the address that the settings name."""
    app = create_app(settings, hosted_worker)
    config = uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    return DrainingServer(config, app.state.backends)


def run(settings: Settings, hosted_worker: HostedWorker | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    configure_logging(settings.log_level, "api")
    server = make_server(settings, hosted_worker)
    rest_collector()
    server.run()
