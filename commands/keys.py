"""`sagapay keys`: clients and their API keys."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console
from rich.table import Table

from domain.errors import NotFound
from domain.ids import ClientId
from infra.settings import Settings
from ledger.directory import Directory, Scope


@asynccontextmanager
async def _directory(settings: Settings) -> AsyncIterator[Directory]:
    directory = Directory.from_settings(settings)
    try:
        yield directory
    finally:
        await directory.aclose()


async def create_client(settings: Settings, console: Console, name: str) -> None:
    """Add a client and print its id."""
    async with _directory(settings) as directory:
        console.print(await directory.create_client(name), soft_wrap=True)


async def create_key(settings: Settings, console: Console, client: str, scope: Scope, name: str) -> None:
    """Add a key and print it, this once. Raises InvalidId, NotFound."""
    client_id = ClientId.parse(client)
    async with _directory(settings) as directory:
        if all(known.client_id != client_id for known in await directory.clients()):
            raise NotFound(f"There is no client {client_id}.")
        console.print(await directory.create_key(client_id, scope, name), soft_wrap=True)


async def list_keys(settings: Settings, console: Console) -> None:
    """Print all clients and keys; a key is shown by its id, never in plain text."""
    table = Table("client", "name", "key", "scope", "for", "state")
    async with _directory(settings) as directory:
        names = {client.client_id: client.name for client in await directory.clients()}
        for key in await directory.keys():
            state = "revoked" if key.revoked_at else "live"
            table.add_row(key.client_id, names[key.client_id], key.key_id, key.scope, key.name, state)
    console.print(table)


async def revoke_key(settings: Settings, console: Console, key_id: str) -> None:
    """Revoke a key. Raises NotFound."""
    async with _directory(settings) as directory:
        if not await directory.revoke_key(key_id):
            raise NotFound(f"There is no live key {key_id}.")
        console.print("revoked; every API process notices within 10 seconds")
