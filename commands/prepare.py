"""Make the servers ready for the roles: schema, partitions, search attributes, a client and keys to develop with."""

import asyncio
from pathlib import Path

import orjson
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client

import migrations
from domain.errors import SettingsInvalid
from domain.search_attributes import REGISTRY
from events.history_databases import HistoryDatabases, forget_others
from infra.database import make_engine, transaction
from infra.secrets import Cipher, add_key, keys_file
from infra.settings import Settings
from infra.signatures import new_secret, secrets_file
from infra.temporal import connect
from ledger.directory import Directory, Scope
from ledger.local import LocalLedger

DEVELOPMENT_FILE = "development.json"
_TYPES = {
    "Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "Datetime": IndexedValueType.INDEXED_VALUE_TYPE_DATETIME,
}


async def prepare(settings: Settings) -> None:
    """Safe to repeat: what is there already stays as it is.

    Raises SettingsInvalid where the databases were made for another number of shards, LedgerUnavailable,
    WorkflowsUnavailable.
    """
    if len(settings.migration_urls) != len(settings.shard_urls):
        raise SettingsInvalid("SAGAPAY_MIGRATION_URLS wants the databases of SAGAPAY_SHARD_URLS, as their owner")
    await asyncio.to_thread(migrations.upgrade_all, settings.migration_urls)
    await prepare_history(settings)
    ledger = LocalLedger(settings)
    try:
        await ledger.ensure_partitions()
        await asyncio.to_thread(_development_keys, settings)
        directory = Directory(ledger.shards.all[0].engine, Cipher.from_settings(settings))
        await _development_client(directory, settings.state_dir / DEVELOPMENT_FILE)
    finally:
        await ledger.aclose()
    await _register_search_attributes(await connect(settings), settings.temporal_namespace)


async def prepare_history(settings: Settings) -> None:
    """Make the history's own databases ready, if there are any, and forget who filled another arrangement of them.

    Raises SettingsInvalid, LedgerUnavailable.
    """
    if len(settings.history_migration_urls) != len(settings.history_urls):
        raise SettingsInvalid(
            "SAGAPAY_HISTORY_MIGRATION_URLS wants the databases of SAGAPAY_HISTORY_URLS, as their owner"
        )
    for url in settings.history_migration_urls:
        await asyncio.to_thread(migrations.upgrade_history, url)
    history, owner = HistoryDatabases(settings), make_engine(settings.migration_urls[0], settings)
    try:
        async with transaction(owner) as connection:
            await forget_others(connection, history.all)
    finally:
        await history.aclose()
        await owner.dispose()


def _development_keys(settings: Settings) -> None:
    if settings.encryption_keys_file is None and not keys_file(settings).exists():
        add_key(keys_file(settings))
    if settings.bank_webhook_secrets_file is None and not secrets_file(settings).exists():
        secrets_file(settings).touch(mode=0o600)
        secrets_file(settings).write_text(new_secret() + "\n")


async def _development_client(directory: Directory, file: Path) -> None:
    """A client with both keys, made once, written where only this user can read it."""
    known = await asyncio.to_thread(_read, file)
    if any(client.client_id == known.get("client_id") for client in await directory.clients()):
        return
    client_id = await directory.create_client("Development")
    keys = {
        "client_id": client_id,
        "app_key": await directory.create_key(client_id, Scope.APP, "development app"),
        "operator_key": await directory.create_key(client_id, Scope.OPERATOR, "development operator"),
    }
    await asyncio.to_thread(_write, file, keys)


def _read(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    known: dict[str, str] = orjson.loads(file.read_bytes())
    return known


def _write(file: Path, keys: dict[str, str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_bytes(orjson.dumps(keys, option=orjson.OPT_INDENT_2))


async def _register_search_attributes(client: Client, namespace: str) -> None:
    operator = client.operator_service
    known = await operator.list_search_attributes(ListSearchAttributesRequest(namespace=namespace))
    missing = {name: _TYPES[kind] for name, kind in REGISTRY.items() if name not in known.custom_attributes}
    if missing:
        await operator.add_search_attributes(AddSearchAttributesRequest(namespace=namespace, search_attributes=missing))
