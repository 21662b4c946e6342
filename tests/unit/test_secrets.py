"""Secrets at rest: bound to their place, under the newest key, readable over a rotation."""

from pathlib import Path

import pytest

from domain.errors import SettingsInvalid
from infra.secrets import Cipher, SecretUnreadable, add_key

PLACE, OTHER_PLACE = "bank_accounts.account_token:1", "bank_accounts.account_token:2"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with one key."""
    add_key(tmp_path / "keys")
    return tmp_path / "keys"


def test_a_value_is_read_back_at_its_place_and_nowhere_else(file: Path) -> None:
    cipher = Cipher(file)
    kept = cipher.encrypt("at_secret", PLACE)
    assert "at_secret" not in kept
    assert cipher.decrypt(kept, PLACE) == "at_secret"
    with pytest.raises(SecretUnreadable):
        cipher.decrypt(kept, OTHER_PLACE)


def test_no_two_values_look_alike(file: Path) -> None:
    cipher = Cipher(file)
    assert cipher.encrypt("at_secret", PLACE) != cipher.encrypt("at_secret", PLACE)


def test_a_changed_value_is_refused(file: Path) -> None:
    cipher = Cipher(file)
    kept = cipher.encrypt("at_secret", PLACE)
    changed = kept[:-2] + ("A" if kept[-2] != "A" else "B") + kept[-1]
    for wrong in (changed, "k0.AAAA", "nonsense", ""):
        with pytest.raises(SecretUnreadable):
            cipher.decrypt(wrong, PLACE)


def test_after_a_rotation_old_values_are_read_and_new_ones_have_the_new_key(file: Path) -> None:
    running = Cipher(file)
    old = running.encrypt("old", PLACE)
    newest = add_key(file)
    rotated = Cipher(file)
    new = rotated.encrypt("new", PLACE)
    assert (old.partition(".")[0] == newest, new.partition(".")[0]) == (False, newest)
    assert rotated.decrypt(old, PLACE) == "old"
    assert running.decrypt(new, PLACE) == "new"  # Without a restart.


def test_a_key_that_is_gone_takes_its_values_with_it(file: Path) -> None:
    kept = Cipher(file).encrypt("gone", PLACE)
    add_key(file)
    file.write_text(file.read_text().splitlines()[0])
    with pytest.raises(SecretUnreadable):
        Cipher(file).decrypt(kept, PLACE)


def test_keys_are_for_their_owner_alone(file: Path) -> None:
    add_key(file)
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "k1\n", "k1 c2hvcnQ=\n", "K1! " + "A" * 43 + "=\n", "k1 not-base64\n"])
def test_a_file_of_something_else_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys").write_text(content)
    with pytest.raises(SettingsInvalid, match="SAGAPAY_ENCRYPTION_KEYS_FILE"):
        Cipher(tmp_path / "keys").demand_keys()


def test_without_a_file_it_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="new-key"):
        Cipher(tmp_path / "none").demand_keys()
