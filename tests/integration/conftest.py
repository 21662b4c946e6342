"""Fixtures of the integration tests."""

from tests.money.fixtures import client, database, databases, ledger

__all__ = ["client", "database", "databases", "ledger"]
