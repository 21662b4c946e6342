"""Test support: payments as the API would ask for them, and ledger databases of a test's own."""
