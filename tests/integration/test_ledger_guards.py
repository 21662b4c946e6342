"""What the database itself refuses, whoever asks: the guards that hold even if the code above them is wrong."""

import itertools
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

from domain.contracts.payments import StepResult
from domain.ids import TransactionId, WalletId
from domain.transactions import LEGAL_MOVES, TransactionStatus
from ledger.local import LocalLedger
from tests.money.books import pay_in_every_way
from tests.money.requests import Client
from tests.money.scratch import Database
from tests.stack.servers import Servers

UNBALANCED, IMMUTABLE, ENDED = "SG001", "SG003", "SG009"
IMMUTABLE_TABLES = ("ledger_entries", "postings", "transaction_steps", "transaction_events", "idempotency_keys")


@pytest.fixture(scope="module")
async def paid(database: Database, bare_servers: Servers) -> dict[str, StepResult]:
    """One payment of every kind in every state."""
    service = LocalLedger(database.settings(bare_servers.settings))
    payments = await pay_in_every_way(Client(service))
    await service.aclose()
    return payments


@pytest.fixture
def application(database: Database, paid: dict[str, StepResult]) -> Iterator[psycopg.Connection]:
    """A session of the application's role."""
    assert paid
    with database.connect("sagapay_app") as connection:
        yield connection


@pytest.fixture
def owner(database: Database, paid: dict[str, StepResult]) -> Iterator[psycopg.Connection]:
    """A session of the role that owns the tables: the most that a migration gone wrong could be."""
    assert paid
    with database.connect("sagapay_owner") as connection:
        yield connection


def _state(error: pytest.ExceptionInfo[psycopg.Error]) -> str | None:
    return error.value.sqlstate


INSERT_ENTRY = """
    INSERT INTO ledger.ledger_entries
    SELECT gen_id, posting_id, transaction_id, account_id, type, amount + extra, currency, balance_after, version, now()
    FROM ledger.ledger_entries, (VALUES (%(first)s::uuid, 'DEBIT', 0::bigint), (%(second)s::uuid, 'CREDIT', %(extra)s))
        AS new (gen_id, side, extra)
    WHERE transaction_id = %(transaction)s AND type = side
"""


def _fresh_ids() -> dict[str, object]:
    return {"first": WalletId.new(0).uuid, "second": WalletId.new(0).uuid}


@pytest.mark.parametrize("extra", [1, -1])
def test_entries_that_do_not_sum_to_zero_are_refused(
    application: psycopg.Connection, paid: dict[str, StepResult], extra: int
) -> None:
    transaction = paid["transfer"].transaction_id.uuid
    with pytest.raises(psycopg.Error) as refused:
        application.execute(INSERT_ENTRY, {**_fresh_ids(), "extra": extra, "transaction": transaction})
    assert _state(refused) == UNBALANCED


def test_entries_that_sum_to_zero_would_be_taken(application: psycopg.Connection, paid: dict[str, StepResult]) -> None:
    transaction = paid["transfer"].transaction_id.uuid
    with application.transaction(force_rollback=True):
        taken = application.execute(INSERT_ENTRY, {**_fresh_ids(), "extra": 0, "transaction": transaction})
        assert taken.rowcount == 2


def test_an_entry_alone_is_refused(owner: psycopg.Connection, paid: dict[str, StepResult]) -> None:
    with pytest.raises(psycopg.Error) as refused:
        owner.execute(
            "INSERT INTO ledger.ledger_entries SELECT %s, posting_id, transaction_id, account_id, type, amount, "
            "currency, balance_after, version, now() FROM ledger.ledger_entries WHERE transaction_id = %s LIMIT 1",
            [WalletId.new(0).uuid, paid["transfer"].transaction_id.uuid],
        )
    assert _state(refused) == UNBALANCED


@pytest.mark.parametrize("table", IMMUTABLE_TABLES)
@pytest.mark.parametrize("change", ["UPDATE ledger.{} SET created_at = now()", "DELETE FROM ledger.{}"])
def test_the_record_cannot_be_changed(
    application: psycopg.Connection, owner: psycopg.Connection, table: str, change: str
) -> None:
    statement = change.format(table).encode()
    with pytest.raises(errors.InsufficientPrivilege):
        application.execute(statement)
    with pytest.raises(psycopg.Error) as refused:
        owner.execute(statement)
    assert _state(refused) == IMMUTABLE


@pytest.mark.parametrize("table", ["ledger_entries", "postings"])
def test_entries_and_postings_cannot_be_truncated(
    application: psycopg.Connection, owner: psycopg.Connection, table: str
) -> None:
    found = owner.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", [f"ledger.{table}"]
    )
    partitions = [str(row[0]) for row in found]
    assert partitions
    for name in [f"ledger.{table}", *partitions]:
        with pytest.raises(errors.InsufficientPrivilege):
            application.execute(f"TRUNCATE {name}".encode())
        with pytest.raises(psycopg.Error) as refused:
            owner.execute(f"TRUNCATE {name}".encode())
        assert _state(refused) == IMMUTABLE


@pytest.mark.parametrize("change", ["balance = -1", "held = balance + 1", "held = -1"])
def test_what_may_be_spent_never_falls_below_the_floor(
    application: psycopg.Connection, owner: psycopg.Connection, change: str
) -> None:
    for session in (application, owner):
        with pytest.raises(errors.CheckViolation):
            session.execute(f"UPDATE ledger.accounts SET {change} WHERE kind = 'wallet' AND balance > 0".encode())


@pytest.mark.parametrize(
    ("payment", "status"),
    [
        ("transfer", "processing"),
        ("transfer", "pending"),
        ("transfer", "failed"),
        ("refused transfer", "succeeded"),
        ("refused transfer", "processing"),
        ("released", "succeeded"),
        ("held", "pending"),
        ("held", "returned"),
    ],
)
def test_a_status_cannot_move_where_it_must_not(
    application: psycopg.Connection, paid: dict[str, StepResult], payment: str, status: str
) -> None:
    failure = "cancelled" if status == "failed" else None
    with pytest.raises(psycopg.Error) as refused:
        application.execute(
            "UPDATE ledger.transactions SET status = %s, failure_code = %s, "
            "completed_at = CASE WHEN %s IN ('pending', 'processing') THEN NULL ELSE now() END "
            "WHERE transaction_id = %s",
            [status, failure, status, paid[payment].transaction_id.uuid],
        )
    assert _state(refused) == ENDED


INSERT_TRANSACTION = """
    INSERT INTO ledger.transactions (transaction_id, kind, status, client_id, amount, currency, failure_code,
                                     workflow_id, effective_at, created_at, completed_at)
    VALUES (%(id)s, 'transfer', %(status)s, %(id)s, 1, 'USD', CASE %(status)s WHEN 'failed' THEN 'cancelled' END,
            %(id)s, now(), now(), CASE WHEN %(status)s NOT IN ('pending', 'processing') THEN now() END)
"""
MOVE_TRANSACTION = """
    UPDATE ledger.transactions SET status = %(status)s,
        failure_code = CASE %(status)s WHEN 'failed' THEN 'cancelled' END,
        completed_at = CASE WHEN %(status)s NOT IN ('pending', 'processing') THEN now() END
    WHERE transaction_id = %(id)s
"""


@pytest.mark.parametrize(("current", "target"), list(itertools.product(TransactionStatus, repeat=2)))
def test_the_database_allows_the_moves_that_the_domain_allows(
    application: psycopg.Connection, current: TransactionStatus, target: TransactionStatus
) -> None:
    made = TransactionId.new(0).uuid
    with application.transaction(force_rollback=True):
        application.execute(INSERT_TRANSACTION, {"id": made, "status": current})
        if current is target or target in LEGAL_MOVES[current]:
            assert application.execute(MOVE_TRANSACTION, {"id": made, "status": target}).rowcount == 1
        else:
            with pytest.raises(psycopg.Error) as refused, application.transaction():
                application.execute(MOVE_TRANSACTION, {"id": made, "status": target})
            assert _state(refused) == ENDED


@pytest.mark.parametrize("payment", ["captured", "released"])
@pytest.mark.parametrize("end", ["status = 'released', captured = 0", "status = 'captured', captured = amount"])
def test_a_hold_ends_once(
    application: psycopg.Connection, owner: psycopg.Connection, paid: dict[str, StepResult], payment: str, end: str
) -> None:
    for session in (application, owner):
        with pytest.raises(psycopg.Error) as refused:
            session.execute(
                f"UPDATE ledger.holds SET {end}, ended_at = now() WHERE transaction_id = %s".encode(),
                [paid[payment].transaction_id.uuid],
            )
        assert _state(refused) == ENDED


def test_a_step_has_one_outcome(application: psycopg.Connection, paid: dict[str, StepResult]) -> None:
    with pytest.raises(errors.UniqueViolation):
        application.execute(
            "INSERT INTO ledger.transaction_steps (transaction_id, step, outcome, refusal_code, created_at) "
            "VALUES (%s, 'settle_transfer', 'refused', 'cancelled', now())",
            [paid["transfer"].transaction_id.uuid],
        )


def test_a_key_stands_for_one_payment(application: psycopg.Connection) -> None:
    with pytest.raises(errors.UniqueViolation):
        application.execute(
            "INSERT INTO ledger.idempotency_keys SELECT key_digest, fingerprint, gen_random_uuid() "
            "FROM ledger.idempotency_keys LIMIT 1"
        )


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE ledger.mine (x int)",
        "CREATE TABLE public.mine (x int)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION ledger.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE ledger.accounts ADD COLUMN mine int",
        "ALTER TABLE ledger.accounts DROP CONSTRAINT accounts_floor",
        "ALTER TABLE ledger.ledger_entries DISABLE TRIGGER ALL",
        "DROP TRIGGER immutable ON ledger.ledger_entries",
        "DROP TABLE ledger.holds",
        "CREATE INDEX mine ON ledger.accounts (status)",
        "SET session_replication_role = replica",
        "SELECT ledger.attach_partition('postings', 'mine', '0', '1')",
        "UPDATE ledger.accounts SET floor = -1",
        "UPDATE ledger.accounts SET currency = 'EUR'",
        "UPDATE ledger.transactions SET amount = 1",
        "UPDATE ledger.holds SET amount = 1",
        "DELETE FROM ledger.accounts",
        "DELETE FROM ledger.holds",
        "DELETE FROM ledger.outbox",
        "UPDATE ledger.outbox SET data = '{}'",
        "DELETE FROM directory.clients",
        "UPDATE directory.api_keys SET scope = 'operator'",
    ],
)
def test_the_application_has_no_power_beyond_its_grants(application: psycopg.Connection, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        application.execute(statement.encode())


def test_the_application_cannot_insert_entries_past_their_guard(application: psycopg.Connection) -> None:
    found = application.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'ledger.ledger_entries'::regclass"
    )
    for (name,) in found.fetchall():
        with pytest.raises(errors.InsufficientPrivilege):
            application.execute(f"INSERT INTO {name} SELECT * FROM ledger.ledger_entries".encode())


def test_the_application_can_have_partitions_made_but_not_make_them(
    application: psycopg.Connection, owner: psycopg.Connection
) -> None:
    count = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'ledger.ledger_entries'::regclass"
    before = owner.execute(count).fetchone()
    assert before is not None
    made = application.execute("SELECT ledger.ensure_partitions(6, 14)").fetchone()
    assert made is not None
    assert made[0] >= 3 * 5
    after = owner.execute(count).fetchone()
    assert after is not None
    assert after[0] == before[0] + 3
    again = application.execute("SELECT ledger.ensure_partitions(6, 14)").fetchone()
    assert again == (0,)
    guarded = owner.execute(
        "SELECT count(*) FROM pg_trigger g JOIN pg_inherits i ON i.inhrelid = g.tgrelid "
        "WHERE i.inhparent = 'ledger.ledger_entries'::regclass AND g.tgname IN ('immutable', 'never_truncated')"
    ).fetchone()
    assert guarded == (2 * after[0],)
