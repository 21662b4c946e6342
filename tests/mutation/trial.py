"""One mutant on trial: a forked process loads it in place of the real module and runs the tests until one fails.

What all trials share is made before they are forked: running servers, migrated databases to copy, imported libraries.
"""

import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from itertools import count
from pathlib import Path
from types import ModuleType

import pytest

from tests.house.tree import ROOT
from tests.money import scratch
from tests.mutation.mutants import Mutant
from tests.stack import servers as stack_servers
from tests.stack.servers import Servers

TESTS = (
    "tests/unit/test_rules.py",
    "tests/unit/test_holds.py",
    "tests/integration/test_ledger_steps.py",
    "tests/integration/test_ledger_returns.py",
    "tests/integration/test_atomic_batches.py",
    "tests/integration/test_holds.py",
    "tests/integration/test_wallet_rules.py",
    "tests/integration/test_ledger_guards.py",
    "tests/integration/test_ledger_keys.py",
    "tests/integration/test_ledger_groups.py",
    "tests/property/test_ledger_against_model.py",
    "tests/integration/test_ledger_shards.py",
)
TRIAL_SECONDS = 150
_TEST_SECONDS = 30
_DATABASES_EACH = 1000


@dataclass(frozen=True)
class Shared:
    """What trials are forked with."""

    servers: Servers
    databases: scratch.Databases
    folder: Path

    @classmethod
    def on(cls, servers: Servers, folder: Path) -> "Shared":
        """Make the databases that trials copy."""
        databases = scratch.Databases(servers.settings)
        for shard, shards in ((0, 1), (0, 2), (1, 2)):
            databases.empty(shard, shards)
        return cls(servers, databases, folder)


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant; `killed_by` is a test, or why none ran to its end, and None of a survivor."""

    killed_by: str | None
    seconds: float


class Trial:
    """A forked process that tries one mutant, or, without one, the code as it is."""

    def __init__(self, shared: Shared, mutant: Mutant | None, number: int) -> None:
        self.mutant = mutant
        self._began = time.monotonic()
        self._log = shared.folder / f"{number}.log"
        self._failed = shared.folder / f"{number}.failed"
        self._pid = os.fork()
        if self._pid == 0:
            os.setpgid(0, 0)
            _run(shared, mutant, number, self._log, self._failed)

    def verdict(self) -> Verdict | None:
        """None while it runs. A trial that takes too long is ended, and its mutant is killed."""
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        seconds = time.monotonic() - self._began
        if pid == 0 and seconds < TRIAL_SECONDS:
            return None
        if pid == 0:
            self.end()
            return Verdict("the time was over", seconds)
        if os.waitstatus_to_exitcode(status) == 0:
            return Verdict(None, seconds)
        return Verdict(self._failed.read_text() if self._failed.exists() else "no test could be run", seconds)

    def end(self) -> None:
        """Kill the process and what it has started."""
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    @property
    def output(self) -> str:
        """What pytest said."""
        return self._log.read_text()


class _Instead(MetaPathFinder, Loader):
    """Imports the mutant under the module's name."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._name = mutant.module.removesuffix(".py").replace("/", ".")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See MetaPathFinder."""
        return spec_from_loader(fullname, self, origin=self._mutant.module) if fullname == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        """See Loader."""
        exec(compile(self._mutant.source, self._mutant.module, "exec"), vars(module))


class _FirstFailure:
    """A plugin of pytest that writes down which test failed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """See pytest."""
        if report.failed and not self._path.exists():
            self._path.write_text(report.nodeid)


def _run(shared: Shared, mutant: Mutant | None, number: int, log: Path, failed: Path) -> None:
    """The forked process: never returns."""
    code = 1
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT)
        os.dup2(out, 1)
        os.dup2(out, 2)
        assert not any(name == "ledger" or name.startswith("ledger.") for name in sys.modules), "imported too early"
        if mutant is not None:
            sys.meta_path.insert(0, _Instead(mutant))
        _share(shared, number)
        options = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:schemathesis", "--assert=plain"]
        options += ["-o", f"timeout={_TEST_SECONDS}", "--basetemp", str(shared.folder / f"{number}.tmp")]
        os.chdir(ROOT)
        code = int(pytest.main([*options, *TESTS], plugins=[_FirstFailure(failed)]))
    except BaseException:  # noqa: BLE001 - a fork must not go on as its parent.
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _share(shared: Shared, number: int) -> None:
    """Give the fixtures of this process the servers that run, and its copies names that nobody else uses."""

    @contextmanager
    def running(home: Path, **_chosen: object) -> Iterator[Servers]:
        yield shared.servers

    stack_servers.running_servers = running  # type: ignore[assignment]
    scratch._numbers = count((number + 1) * _DATABASES_EACH)
    scratch.Databases = lambda base: shared.databases  # type: ignore[assignment,misc]
