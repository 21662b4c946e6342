"""What people would use instead: pgbench's own TPC-B, and a transfer as the textbooks write it.

Both are driven by pgbench, a client in C: nothing of a slower language is in their figures.
"""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import psycopg

from benchmarks.ledger.server import OPENING_BALANCE, Server

CLIENTS: Final = (1, 4, 8, 16, 32)
SCALE: Final = 20
"""Of TPC-B: two million accounts and twenty branches, each of which is locked by one client at a time."""

# Double entry, idempotency and an outbox, as in the ledger; one transaction a transfer, and a lock on both accounts.
_TEXTBOOK: Final = """
    CREATE SCHEMA textbook;
    CREATE TABLE textbook.accounts (id bigint PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0));
    CREATE TABLE textbook.transfers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key uuid NOT NULL UNIQUE,
        sender bigint NOT NULL, receiver bigint NOT NULL, amount bigint NOT NULL,
        at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE textbook.entries (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, transfer_id bigint NOT NULL,
        account_id bigint NOT NULL, amount bigint NOT NULL, balance_after bigint NOT NULL);
    CREATE INDEX ON textbook.entries (account_id, id);
    CREATE TABLE textbook.outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, data jsonb NOT NULL);
    INSERT INTO textbook.accounts SELECT i, {balance} FROM generate_series(1, {wallets}) AS i;
"""
_TRANSFER: Final = r"""
\set a random(1, {wallets})
\set b 1 + (:a + random(0, {wallets} - 2)) % {wallets}
BEGIN;
SELECT balance FROM textbook.accounts WHERE id IN (:a, :b) ORDER BY id FOR UPDATE;
INSERT INTO textbook.transfers (key, sender, receiver, amount) VALUES (gen_random_uuid(), :a, :b, 1)
    RETURNING id AS transfer \gset
UPDATE textbook.accounts SET balance = balance - 1 WHERE id = :a RETURNING balance AS after_a \gset
UPDATE textbook.accounts SET balance = balance + 1 WHERE id = :b RETURNING balance AS after_b \gset
INSERT INTO textbook.entries (transfer_id, account_id, amount, balance_after)
    VALUES (:transfer, :a, -1, :after_a), (:transfer, :b, 1, :after_b);
INSERT INTO textbook.outbox (data) VALUES (jsonb_build_object('transfer', :transfer::bigint, 'sender', :a::bigint,
    'receiver', :b::bigint, 'amount', 1, 'after', jsonb_build_array(:after_a::bigint, :after_b::bigint)));
COMMIT;
"""


def prepare(server: Server, wallets: int) -> None:
    """Make both peers' tables, beside the ledger on the same server."""
    with server.connect("postgres") as connection:
        connection.execute("CREATE DATABASE peers")
    with server.connect("peers") as connection:
        connection.execute(_TEXTBOOK.format(wallets=wallets, balance=OPENING_BALANCE).encode())
    _pgbench(server, ["-i", "-q", "-s", str(SCALE)])


def tpcb(server: Server, clients: int, seconds: float) -> float:
    """Transactions a second of TPC-B."""
    return _rate(_pgbench(server, _load(clients, seconds)))


def textbook(server: Server, wallets: int, clients: int, seconds: float) -> float:
    """Transfers a second, the textbook way. Raises RuntimeError if the money is not all there afterwards."""
    with TemporaryDirectory() as folder:
        script = Path(folder) / "transfer.sql"
        script.write_text(_TRANSFER.format(wallets=wallets))
        rate = _rate(_pgbench(server, [*_load(clients, seconds), "-f", str(script)]))
    with server.connect("peers") as connection:
        _demand_even(connection, wallets)
    return rate


def _demand_even(connection: psycopg.Connection, wallets: int) -> None:
    row = connection.execute(
        "SELECT (SELECT sum(balance) FROM textbook.accounts)::bigint, (SELECT coalesce(sum(amount), 0) FROM "
        "textbook.entries)::bigint"
    ).fetchone()
    if row != (wallets * OPENING_BALANCE, 0):
        raise RuntimeError(f"the textbook's books are not even: {row}")


def _load(clients: int, seconds: float) -> list[str]:
    return ["-c", str(clients), "-j", str(min(2, clients)), "-T", str(round(seconds)), "-M", "prepared", "-n"]


def _pgbench(server: Server, words: Sequence[str]) -> str:
    command = [str(server.programs / "pgbench"), "-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres"]
    done = subprocess.run([*command, *words, "peers"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"pgbench failed: {done.stderr[-500:]}")
    return done.stdout


def _rate(said: str) -> float:
    found = re.search(r"tps = ([\d.]+) \(without", said)
    if found is None:
        raise RuntimeError(f"pgbench said no rate: {said[-500:]}")
    return float(found.group(1))
