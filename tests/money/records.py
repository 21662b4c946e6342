"""The ledger's tables as a test reads them, past the service that wrote them."""

from dataclasses import dataclass

import psycopg

from domain.ids import TransactionId

TABLES = (
    "transactions",
    "transaction_steps",
    "transaction_events",
    "postings",
    "ledger_entries",
    "holds",
    "idempotency_keys",
    "outbox",
)


@dataclass(frozen=True)
class Records:
    """Reads as the superuser. `bank` is the test's own, so that its system accounts are nobody else's."""

    connection: psycopg.Connection
    bank: str

    def rows(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        """All rows."""
        return self.connection.execute(query.encode(), parameters).fetchall()

    def value(self, query: str, *parameters: object) -> int:
        """One number."""
        ((number,),) = self.rows(query, *parameters)
        assert isinstance(number, int)
        return number

    def system(self, kind: str) -> int:
        """The balance of our own accounts of a kind at the bank, over all stripes."""
        return self.value(
            "SELECT coalesce(sum(balance), 0)::bigint FROM ledger.accounts WHERE code LIKE ANY(%s)",
            [f"{kind}:{self.bank}:%", f"{kind}:{self.bank}.%"],
        )

    def waiting(self) -> int:
        """How many of the application's sessions wait for a lock."""
        return self.value(
            """SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND usename = 'sagapay_app' AND wait_event_type = 'Lock'"""
        )

    def sizes(self) -> dict[str, int]:
        """How many rows each table has."""
        return {table: self.value(f"SELECT count(*) FROM ledger.{table}") for table in TABLES}

    def hold(self, transaction_id: TransactionId) -> tuple[object, ...] | None:
        """(status, amount, captured) of a payment's hold."""
        found = self.rows(
            "SELECT status, amount, captured FROM ledger.holds WHERE transaction_id = %s", transaction_id.uuid
        )
        return found[0] if found else None

    def steps(self, transaction_id: TransactionId) -> list[tuple[object, ...]]:
        """(step, outcome) in the order in which they were taken."""
        return self.rows(
            "SELECT step, outcome FROM ledger.transaction_steps WHERE transaction_id = %s ORDER BY created_at",
            transaction_id.uuid,
        )

    def told(self, transaction_id: TransactionId) -> list[str]:
        """The types of all events about a payment, as the outbox orders them."""
        found = self.rows(
            "SELECT type FROM ledger.outbox WHERE data->>'tx_id' = %s ORDER BY xid, id", str(transaction_id)
        )
        return [str(kind) for (kind,) in found]

    def commits(self, transaction_id: TransactionId) -> int:
        """By how many database transactions all rows about a payment were written."""
        tables = ("transactions", "transaction_steps", "transaction_events", "postings", "ledger_entries", "holds")
        writers = [
            f"SELECT xmin::text AS writer FROM ledger.{table} WHERE transaction_id = '{transaction_id.uuid}'"
            for table in (*tables, "idempotency_keys")
        ]
        writers.append(f"SELECT xmin::text FROM ledger.outbox WHERE data->>'tx_id' = '{transaction_id}'")
        return self.value(f"SELECT count(DISTINCT writer) FROM ({' UNION ALL '.join(writers)}) rows")
