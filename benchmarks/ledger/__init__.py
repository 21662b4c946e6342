"""The ledger alone, without API and workflows, against what people would use instead, on one PostgreSQL."""
