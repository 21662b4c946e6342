"""The simulated bank as a process, for tests: own port, own books, killed and restarted at will."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx

from bank_adapters.port import BankAdapter, Capabilities
from bank_adapters.simulator.client import BankAdmin
from infra.local.child import Child, Command
from infra.local.probes import free_ports

OTHER: Final = "other"
START_SECONDS = 30.0
GRACE_SECONDS = 5.0


class BankProcess:
    """A running bank at `url`. What it answered before `kill` it still knows after `restart`."""

    def __init__(self, state_dir: Path, port: int, **variables: str) -> None:
        self.state_dir = state_dir
        self.url = f"http://127.0.0.1:{port}"
        self._command = Command(
            name="bank",
            argv=[sys.executable, "-m", "bank_adapters.simulator"],
            log=state_dir / "bank.log",
            environment={
                "SAGAPAY_STATE_DIR": str(state_dir),
                "SAGAPAY_BANK_HOST": "127.0.0.1",
                "SAGAPAY_BANK_PORT": str(port),
                "SAGAPAY_LOG_LEVEL": "WARNING",
                **variables,
            },
        )
        self._child = Child(self._command)

    def admin(self) -> BankAdmin:
        """A client of the bank's administration; use it as `async with bank.admin() as admin`."""
        return BankAdmin(self.url)

    def kill(self) -> None:
        """kill -9, at whatever it is doing."""
        if self._child.code is None:
            os.kill(self._child.pid, signal.SIGKILL)
            self._child.wait(GRACE_SECONDS)

    def restart(self) -> None:
        """Start it again on the same port over the same books, killing it first if it still runs."""
        self.kill()
        self._child = Child(self._command)
        self.wait_ready()

    def stop(self) -> None:
        """SIGTERM, as a supervisor stops it."""
        self._child.stop(GRACE_SECONDS)

    def wait_ready(self) -> None:
        """Wait until it answers. Raises RuntimeError with its log if it does not."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._child.code is None:
            try:
                if httpx.get(f"{self.url}/livez", timeout=1, trust_env=False).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise RuntimeError(f"the bank did not start:\n{self._command.log.read_text()}")


@contextmanager
def running_bank(state_dir: Path, port: int | None = None, **variables: str) -> Iterator[BankProcess]:
    """Start a bank with its books below `state_dir`, on `port` or a free one; gone at the end.

    `variables` are further SAGAPAY_… variables.
    """
    bank = BankProcess(state_dir, port or free_ports(1)[0], **variables)
    try:
        bank.wait_ready()
        yield bank
    finally:
        bank.stop()


@dataclass(frozen=True)
class Customer:
    """A customer of the bank who has linked an account: its id at the bank and the platform's token for it."""

    account_id: str
    account_token: str


async def link_customer(
    bank: BankAdapter, admin: BankAdmin, *, opening_balance: int = 100_000, currency: str = "USD"
) -> Customer:
    """Open an account with `opening_balance` minor units and link it, through the port."""
    link = await bank.create_link_token("usr_test")
    approval = await admin.approve(link.link_token, opening_balance=opening_balance, currency=currency)
    account = await bank.exchange_public_token(approval.public_token)
    return Customer(approval.account_id, account.account_token)


@dataclass
class _OtherBank:
    bank: BankAdapter
    calls_per_second: float | None
    name: str = OTHER

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bank, name)

    @property
    def capabilities(self) -> Capabilities:
        able = self.bank.capabilities
        return able if self.calls_per_second is None else replace(able, calls_per_second=self.calls_per_second)


def other_bank(bank: BankAdapter, calls_per_second: float | None = None) -> BankAdapter:
    """The same bank under the name OTHER, perhaps with another limit."""
    other: Any = _OtherBank(bank, calls_per_second)
    adapter: BankAdapter = other
    return adapter
