"""Test support: events in an outbox, and a stage with a database and a broker of a test's own."""
