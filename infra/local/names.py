"""Names in the embedded PostgreSQL."""

OWNER = "sagapay_owner"
APPLICATION = "sagapay_app"
DATABASE = "sagapay"
