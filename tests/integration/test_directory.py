"""The directory: one key makes one resource, whoever races; secrets stay where they belong."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from domain.contracts.payments import IdempotencyRecord
from domain.errors import HandleTaken, IdempotencyKeyReused
from domain.ids import BankAccountId, ClientId, UserId, WalletId
from ledger.bank_accounts import NewBankAccount
from ledger.directory import KEY_PREFIX, Directory, NewUser, Scope, User, hash_key
from tests.money.scratch import Database
from tests.rest.stage import new_key
from tests.stack.servers import Servers


@pytest.fixture(scope="module")
async def directory(database: Database, bare_servers: Servers) -> AsyncIterator[Directory]:
    """A directory on this module's own database."""
    found = Directory.from_settings(database.settings(bare_servers.settings, database_pool_size=20))
    yield found
    await found.aclose()


@pytest.fixture
async def client_id(directory: Directory) -> ClientId:
    """An app of this test's own."""
    return await directory.create_client("tests")


def record(fingerprint: str = "aa") -> IdempotencyRecord:
    """A key nobody has used."""
    return IdempotencyRecord(key_digest=new_key(), fingerprint=fingerprint * 32)


def ada(client_id: ClientId, handle: str | None = None) -> NewUser:
    """A person."""
    return NewUser(client_id=client_id, currency="USD", name="Ada", email="ada@example.com", handle=handle)


async def add_user(directory: Directory, client_id: ClientId) -> User:
    """A user under a key of their own."""
    return (await directory.create_user(ada(client_id), record()))[0]


def account_of(user: User, token: str) -> NewBankAccount:
    """What a bank said of the user's account."""
    return NewBankAccount(
        client_id=user.client_id,
        user_id=user.user_id,
        bank="simulator",
        account_token=token,
        holder_name="Ada",
        mask="1234",
    )


async def test_a_key_is_shown_once_and_found_by_its_hash(directory: Directory, client_id: ClientId) -> None:
    plaintext = await directory.create_key(client_id, Scope.OPERATOR, "night shift")
    assert plaintext.startswith(KEY_PREFIX)
    assert len(plaintext) > 40
    found = await directory.authenticate(hash_key(plaintext))
    assert found is not None
    assert (found.client_id, found.scope, found.name, found.revoked_at) == (client_id, "operator", "night shift", None)
    assert await directory.authenticate(hash_key(plaintext + "x")) is None
    assert found in await directory.keys()
    assert await directory.revoke_key(found.key_id)
    assert await directory.authenticate(hash_key(plaintext)) is None
    assert next(key for key in await directory.keys() if key.key_id == found.key_id).revoked_at is not None


async def test_clients_are_listed(directory: Directory, client_id: ClientId) -> None:
    assert client_id in [client.client_id for client in await directory.clients()]


async def test_racing_one_key_adds_one_user(directory: Directory, client_id: ClientId) -> None:
    key = record()
    made = await asyncio.gather(*(directory.create_user(ada(client_id), key) for _ in range(30)))
    assert len({user.user_id for user, _ in made}) == 1
    assert sum(not replayed for _, replayed in made) == 1
    user = made[0][0]
    assert user.wallet_id.bucket == user.user_id.bucket
    assert await directory.user(user.user_id) == user
    with pytest.raises(IdempotencyKeyReused):
        await directory.create_user(ada(client_id), IdempotencyRecord(key_digest=key.key_digest, fingerprint="bb" * 32))


async def test_racing_one_handle_adds_one_user_and_spends_one_key(directory: Directory, client_id: ClientId) -> None:
    keys = [record() for _ in range(10)]
    made = await asyncio.gather(
        *(directory.create_user(ada(client_id, "ada"), key) for key in keys), return_exceptions=True
    )
    assert sum(isinstance(outcome, HandleTaken) for outcome in made) == 9
    assert [await directory.find_request(key) is None for key in keys].count(False) == 1


async def test_users_without_a_handle_do_not_collide(directory: Directory, client_id: ClientId) -> None:
    first, second = await add_user(directory, client_id), await add_user(directory, client_id)
    assert first.user_id != second.user_id


async def test_parties_are_found_by_wallet_or_user(directory: Directory, client_id: ClientId) -> None:
    first, second = await add_user(directory, client_id), await add_user(directory, client_id)
    found = await directory.parties([first.wallet_id, WalletId.new(1)], [second.user_id, UserId.new(1)])
    assert {party.wallet_id: party.user_id for party in found} == {
        first.wallet_id: first.user_id,
        second.wallet_id: second.user_id,
    }
    assert {party.client_id for party in found} == {client_id}
    assert await directory.parties([], []) == []


async def test_racing_link_tokens_leave_one(directory: Directory, client_id: ClientId) -> None:
    user, key = await add_user(directory, client_id), record()
    tokens = await asyncio.gather(
        *(
            directory.record_bank_link(client_id, user.user_id, "simulator", f"link-{number}", key)
            for number in range(10)
        )
    )
    assert len(set(tokens)) == 1
    kept = await directory.find_request(key)
    assert kept is not None
    assert await directory.link_token(kept) == tokens[0]


async def test_an_account_linked_twice_is_one_account(directory: Directory, client_id: ClientId) -> None:
    user, token = await add_user(directory, client_id), new_key()
    new = account_of(user, token)
    made = await asyncio.gather(*(directory.add_bank_account(new, record()) for _ in range(10)))
    assert len({account.bank_account_id for account in made}) == 1
    assert made[0].bank_account_id.bucket == user.user_id.bucket
    found = await directory.bank_account(made[0].bank_account_id)
    assert found == made[0]
    assert found.account_token == token
    assert token not in repr(found)
    assert await directory.bank_account(BankAccountId.new(1)) is None


async def test_a_key_used_for_another_account_says_so(directory: Directory, client_id: ClientId) -> None:
    user, key = await add_user(directory, client_id), record()
    first = await directory.add_bank_account(account_of(user, new_key()), key)
    assert await directory.add_bank_account(account_of(user, new_key()), key) == first
    other = IdempotencyRecord(key_digest=key.key_digest, fingerprint="bb" * 32)
    with pytest.raises(IdempotencyKeyReused):
        await directory.add_bank_account(account_of(user, new_key()), other)
