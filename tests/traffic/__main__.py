"""The kill campaign: `python -m tests.traffic --rounds 20 --seed 7`. `make test-kill` runs it.

Each round sends mixed payments, kills by chance in the middle, and checks everything; all rounds share one platform,
its people and their dictionary. The same seed draws the same payments and victims. The first round that finds
something ends the campaign with exit code 1 and leaves the platform's folder with its logs.
"""

import argparse
import asyncio
import random
import secrets
import shutil
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tests.stack.platform import Platform
from tests.traffic.checks import check_everything, check_with_the_command
from tests.traffic.killing import SUPERVISOR, VICTIMS, Strike, quick_platform, send_and_kill
from tests.traffic.operators import meddling_with
from tests.traffic.traffic import Traffic

LEAST_PAYMENTS, MOST_PAYMENTS = 30, 70
MOST_STRIKES = 3
SUPERVISOR_EVERY = 6
MEDDLED_EVERY = 4
FROZEN_SHARE = 0.2
LONGEST_FREEZE_SECONDS = 15.0
REPLAYS = 30


@dataclass(frozen=True, slots=True)
class Round:
    """What one round does, drawn before it begins."""

    payments: int
    strikes: tuple[Strike, ...]
    meddler: int | None
    """The seed of an operator who terminates and resets meanwhile, if there is one."""

    def __str__(self) -> str:
        hits = ", then ".join(map(str, self.strikes))
        return f"{self.payments} payments, {hits}" + (", operator meddling" if self.meddler is not None else "")


def draw_round(chance: random.Random, number: int) -> Round:
    """The round of this number, from 0."""
    payments = chance.randint(LEAST_PAYMENTS, MOST_PAYMENTS)
    if number % SUPERVISOR_EVERY == SUPERVISOR_EVERY - 1:
        return Round(payments, (Strike((SUPERVISOR,), late_seconds=chance.random()),), meddler=None)
    strikes = tuple(_draw_strike(chance) for _ in range(chance.randint(1, MOST_STRIKES)))
    meddled = number % MEDDLED_EVERY == MEDDLED_EVERY - 1
    return Round(payments, strikes, meddler=chance.getrandbits(32) if meddled else None)


def _draw_strike(chance: random.Random) -> Strike:
    (size,) = chance.choices((1, 2, 3, len(VICTIMS)), weights=(6, 3, 2, 1))
    frozen = chance.uniform(1, LONGEST_FREEZE_SECONDS) if chance.random() < FROZEN_SHARE else 0
    return Strike(tuple(chance.sample(VICTIMS, size)), frozen, late_seconds=chance.random())


async def play(traffic: Traffic, this: Round) -> None:
    """Send, strike, and welcome somebody new meanwhile; returns when everything is answered and runs."""
    async with AsyncExitStack() as stack:
        if this.meddler is not None:
            await stack.enter_async_context(meddling_with(traffic.platform, this.meddler))
        await asyncio.gather(send_and_kill(traffic, traffic.mix.draw(this.payments), this.strikes), traffic.welcome())


async def campaign(platform: Platform, rounds: int, seed: int, console: Console) -> None:
    """All rounds. Raises AssertionError where something does not hold."""
    chance = random.Random(seed)
    async with Traffic(platform, seed) as traffic:
        for number in range(rounds):
            this = draw_round(chance, number)
            began = time.monotonic()
            with console.status(f"round {number + 1} of {rounds}: {this}"):
                traffic.app.troubles.clear()
                await play(traffic, this)
                answered = time.monotonic() - began
                await check_everything(traffic, replays=REPLAYS)
            console.print(
                f"round {number + 1:3d}: {this}: answered after {answered:.1f} s, whole after "
                f"{time.monotonic() - began:.1f} s, {traffic.app.troubles.total()} requests repeated",
                highlight=False,
                soft_wrap=True,
            )
        await check_with_the_command(traffic)


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.traffic", description="The kill campaign.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None, help="repeat a campaign; drawn if left out")
    words = parser.parse_args()
    seed = secrets.randbelow(10**6) if words.seed is None else words.seed
    console = Console()
    home = Path(tempfile.mkdtemp(prefix="sagapay-kills-"))
    platform = quick_platform(home)
    console.print(f"seed {seed}, {words.rounds} rounds, platform in {home}", highlight=False, soft_wrap=True)
    platform.up()
    try:
        asyncio.run(campaign(platform, words.rounds, seed, console))
    except (AssertionError, ExceptionGroup):
        console.print_exception(show_locals=False)
        console.print(f"[red]Something was lost or moved twice.[/] The same again: --seed {seed}. Logs: {home}/logs")
        return 1
    finally:
        platform.run("down")
        platform.untie()
    shutil.rmtree(home)
    console.print("[green]Nothing was lost, nothing moved twice.[/]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
