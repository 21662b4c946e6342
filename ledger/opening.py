"""Which ledger a process works with: its own, or the one that the `ledger` role serves. Settings say which."""

from domain.clock import Clock
from infra.settings import Settings
from ledger.local import LocalLedger
from ledger.service import LedgerService


def open_ledger(settings: Settings, clock: Clock | None = None) -> LedgerService:
    """The service as SAGAPAY_LEDGER_ADDRESS says; nothing connects before it is used.

    `clock` is business time where this process records; behind an address the role's own clock is.
    """
    if settings.ledger_address is None:
        return LocalLedger(settings, clock)
    # Only a process that calls another pays for loading gRPC.
    from ledger.remote import remote_ledger  # noqa: PLC0415

    return remote_ledger(settings, settings.ledger_address)
