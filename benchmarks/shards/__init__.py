"""The ledger alone over one, two and four databases of one server: what sharding costs."""
