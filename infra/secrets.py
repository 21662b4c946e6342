"""Secrets at rest: account numbers and bank tokens are written to a database encrypted, and read back here alone.

AES-256-GCM (NIST SP 800-38D) with a random nonce for each value. A value says under which key it is, so that keys can
be rotated: the first key of the file encrypts, all of them decrypt. A value is bound to its place (table, column and
row), so that one that was copied to another row is refused.
"""

import os
import re
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.errors import SettingsInvalid
from infra.settings import Settings

KEYS_FILE: Final = "encryption_keys"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_KEY_ID_BYTES: Final = 4
_KEY_ID: Final = re.compile(r"[0-9a-z_-]{1,32}")


class SecretUnreadable(Exception):
    """A value was encrypted under a key that is not there, or it is not what was written at its place."""


class Cipher:
    """Encrypts and decrypts with the keys in `file`, which is read when it is first needed.

    The file has a key a line, the newest first: a name, and 32 bytes in base64. Raises SettingsInvalid without it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._keys: dict[str, AESGCM] = {}

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The keys that the settings name."""
        return cls(keys_file(settings))

    @property
    def newest(self) -> str:
        """The name of the key that encrypts."""
        return next(iter(self._loaded()))

    def demand_keys(self) -> None:
        """Raises SettingsInvalid without keys; what needs them says so at its start, not at its first customer."""
        self._loaded()

    def encrypt(self, plaintext: str, place: str) -> str:
        """`plaintext` as it is kept at `place`: KEY.BASE64."""
        name = self.newest
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._keys[name].encrypt(nonce, plaintext.encode(), place.encode())
        return f"{name}.{b64encode(nonce + sealed).decode()}"

    def decrypt(self, kept: str, place: str) -> str:
        """What was encrypted for `place`. Raises SecretUnreadable."""
        name, _, content = kept.partition(".")
        if name not in self._loaded():
            self._keys = _read(self._file)  # It was rotated while this process ran.
        try:
            key, raw = self._keys[name], b64decode(content, validate=True)
            return key.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], place.encode()).decode()
        except (KeyError, ValueError, InvalidTag):
            raise SecretUnreadable(f"the value at {place} cannot be read with the keys in {self._file}") from None

    def _loaded(self) -> dict[str, AESGCM]:
        if not self._keys:
            self._keys = _read(self._file)
        return self._keys


def keys_file(settings: Settings) -> Path:
    """Where the keys are: what the settings name, or the development keys below the state directory."""
    return settings.encryption_keys_file or settings.state_dir / KEYS_FILE


def add_key(file: Path) -> str:
    """Put a new key first in the file, making the file for its owner alone. Returns the key's name."""
    name = f"k{os.urandom(_KEY_ID_BYTES).hex()}"
    line = f"{name} {b64encode(os.urandom(_KEY_BYTES)).decode()}\n"
    older = file.read_text() if file.exists() else ""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as writing:  # noqa: PTH123
        writing.write(line + older)
    new.replace(file)
    return name


def _read(file: Path) -> dict[str, AESGCM]:
    try:
        lines = [line.split() for line in file.read_text().splitlines() if line.strip()]
        keys = {name: AESGCM(b64decode(key, validate=True)) for name, key in lines if _KEY_ID.fullmatch(name)}
    except OSError as error:
        why = f"{file} cannot be read ({error.strerror}); `sagapay secrets new-key` makes one"
        raise SettingsInvalid(f"SAGAPAY_ENCRYPTION_KEYS_FILE: {why}") from None
    except ValueError:
        keys, lines = {}, []
    if not keys or len(keys) != len(lines):
        raise SettingsInvalid(f"SAGAPAY_ENCRYPTION_KEYS_FILE: {file} wants a line for each key: NAME BASE64, 32 bytes")
    return keys
