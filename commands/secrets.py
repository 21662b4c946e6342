"""`sagapay secrets`: keys of the secrets at rest, and bringing what is kept under the newest one."""

import asyncio

from rich.console import Console

from infra.database import make_engine
from infra.secrets import Cipher, add_key, keys_file
from infra.settings import Settings
from ledger.reencryption import reencrypt


def new_key(settings: Settings, console: Console) -> None:
    """Put a new key first in the file of keys, making the file where there is none."""
    file = keys_file(settings)
    console.print(f"{add_key(file)} is the newest key in {file}", soft_wrap=True)


async def reencrypt_all(settings: Settings, console: Console) -> None:
    """Encrypt every secret with the newest key. Raises SettingsInvalid, SecretUnreadable, LedgerUnavailable."""
    cipher = Cipher.from_settings(settings)
    newest = await asyncio.to_thread(lambda: cipher.newest)
    engine = make_engine(settings.shard_urls[0], settings)
    try:
        console.print(f"{await reencrypt(engine, cipher)} values encrypted with {newest}", soft_wrap=True)
    finally:
        await engine.dispose()
