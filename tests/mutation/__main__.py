"""`make mutate`: every careless change to posting and holds must fail a test, or be explained in the page.

Bounded: mutants are tried in a random order (`--seed`) until the minutes are over, so what was tried is a fair sample.
Exits with 1 where a mutant survived that docs/reference/mutation.md does not explain.
"""

import argparse
import importlib
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.house.tree import ROOT
from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.trial import Shared, Trial, Verdict
from tests.stack.servers import running_servers

MODULES = ("ledger/posting.py", "ledger/deciding.py", "ledger/refusals.py", "ledger/holds.py", "ledger/rules.py")
PAGE = ROOT / "docs/reference/mutation.md"
AT_ONCE = 2
# Imported once, before the forks, because that takes longer than most trials; nothing of the ledger may be among them.
LIBRARIES = (
    "fastapi",
    "hypothesis.stateful",
    "psycopg_pool",
    "redis.asyncio",
    "sqlalchemy.ext.asyncio",
    "temporalio.worker",
)


def main() -> int:
    """Try the mutants; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("--minutes", type=float, default=45, help="no trial begins after so many")
    parser.add_argument("--seed", type=int, default=1, help="the order of the mutants")
    parser.add_argument("--only", default="", help="mutants whose description contains this")
    asked = parser.parse_args()
    ends = time.monotonic() + asked.minutes * 60
    mutants = [mutant for module in MODULES for mutant in mutants_of(module) if asked.only in str(mutant)]
    random.Random(asked.seed).shuffle(mutants)
    for name in LIBRARIES:
        importlib.import_module(name)
    folder = Path(tempfile.mkdtemp(prefix="sagapay-mutants-"))
    try:
        with running_servers(folder / "servers") as servers:
            verdicts = _try_all(Shared.on(servers, folder), mutants, ends)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _report(mutants, verdicts, asked.seed)


def _try_all(shared: Shared, mutants: Sequence[Mutant], ends: float) -> dict[Mutant, Verdict]:
    print(f"{len(mutants)} mutants; first the code as it is ...", flush=True)
    unchanged = Trial(shared, None, 0)
    if (verdict := _wait(unchanged)).killed_by is not None:
        sys.exit(f"the tests fail without any change: {verdict.killed_by}\n{unchanged.output}")
    print(f"all tests pass, in {verdict.seconds:.0f} s: as long as a survivor takes", flush=True)
    verdicts: dict[Mutant, Verdict] = {}
    for mutant, verdict in _tried(shared, mutants, ends):
        verdicts[mutant] = verdict
        what = f"killed by {verdict.killed_by}" if verdict.killed_by else "SURVIVED"
        print(f"{len(verdicts)}/{len(mutants)} {verdict.seconds:5.1f} s {mutant}: {what}", flush=True)
    return verdicts


def _tried(shared: Shared, mutants: Sequence[Mutant], ends: float) -> Iterator[tuple[Mutant, Verdict]]:
    """Each mutant with what became of it, AT_ONCE at a time, until all are tried or the time is over."""
    waiting = list(enumerate(mutants, start=1))[::-1]
    running: list[Trial] = []
    try:
        while running or (waiting and time.monotonic() < ends):
            while waiting and len(running) < AT_ONCE and time.monotonic() < ends:
                number, mutant = waiting.pop()
                running.append(Trial(shared, mutant, number))
            time.sleep(0.05)
            for trial in list(running):
                if (verdict := trial.verdict()) is not None:
                    running.remove(trial)
                    assert trial.mutant is not None
                    yield trial.mutant, verdict
    finally:
        for trial in running:
            trial.end()


def _wait(trial: Trial) -> Verdict:
    while (verdict := trial.verdict()) is None:
        time.sleep(0.05)
    return verdict


def _report(mutants: Sequence[Mutant], verdicts: dict[Mutant, Verdict], seed: int) -> int:
    page = PAGE.read_text()
    survivors = [mutant for mutant, verdict in verdicts.items() if verdict.killed_by is None]
    unexplained = [mutant for mutant in survivors if f"`{mutant.before}` → `{mutant.after}`" not in page]
    all_of, tried, survived = (Counter(mutant.module for mutant in which) for which in (mutants, verdicts, survivors))
    print(f"\nseed {seed}\n\n| module | mutants | tried | killed | survived |\n|---|---:|---:|---:|---:|")
    for module, number in all_of.items():
        print(f"| {module} | {number} | {tried[module]} | {tried[module] - survived[module]} | {survived[module]} |")
    print(f"\n{len(mutants) - len(verdicts)} were not tried; {len(unexplained)} survivors are not explained:")
    for mutant in sorted(unexplained, key=str):
        print(f"- {mutant}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
