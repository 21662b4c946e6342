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


def draw_strikes(chance: random.Random, number: int) -> list[Strike]:
    """Whom one round hits, and how; those of one strike at once."""
    if number % SUPERVISOR_EVERY == SUPERVISOR_EVERY - 1:
        return [Strike((SUPERVISOR,), late_seconds=chance.random())]
    return [_draw_strike(chance) for _ in range(chance.randint(1, MOST_STRIKES))]


def _draw_strike(chance: random.Random) -> Strike:
    (size,) = chance.choices((1, 2, 3, len(VICTIMS)), weights=(6, 3, 2, 1))
    frozen = chance.uniform(1, LONGEST_FREEZE_SECONDS) if chance.random() < FROZEN_SHARE else 0
    return Strike(tuple(chance.sample(VICTIMS, size)), frozen, late_seconds=chance.random())


async def campaign(platform: Platform, rounds: int, seed: int, console: Console) -> None:
    """All rounds. Raises AssertionError where something does not hold."""
    chance = random.Random(seed)
    async with Traffic(platform, seed) as traffic:
        for number in range(rounds):
            strikes = draw_strikes(chance, number)
            payments = chance.randint(LEAST_PAYMENTS, MOST_PAYMENTS)
            meddled = number % MEDDLED_EVERY == MEDDLED_EVERY - 1 and number % SUPERVISOR_EVERY != SUPERVISOR_EVERY - 1
            hits = ", then ".join(map(str, strikes))
            with console.status(f"round {number + 1} of {rounds}: {payments} payments, {hits}"):
                began, traffic.app.troubles = time.monotonic(), type(traffic.app.troubles)()
                sendings = traffic.mix.draw(payments)
                if meddled:
                    async with meddling_with(platform, chance.getrandbits(32)):
                        await send_and_kill(traffic, sendings, strikes)
                else:
                    await send_and_kill(traffic, sendings, strikes)
                answered = time.monotonic() - began
                await check_everything(traffic, replays=30)
            repeated = sum(traffic.app.troubles.values())
            console.print(
                f"round {number + 1:3d}: {payments} payments, {hits}"
                f"{', operator meddling' if meddled else ''}: answered after {answered:.1f} s, "
                f"whole after {time.monotonic() - began:.1f} s, {repeated} requests repeated",
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
    try:
        platform.up()
        asyncio.run(campaign(platform, words.rounds, seed, console))
    except AssertionError:
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
