"""The operators' guide's pictures: `python -m tests.operating.screenshots` has a payment park and takes them anew."""

import asyncio
import io
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from PIL import Image
from playwright.async_api import Page, expect
from rich.console import Console

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.transactions import TransactionStatus
from tests.money.scratch import Databases
from tests.operating.desk import WAITS_FOR_A_PERSON, Desk, open_desk
from tests.operating.runbook import RUNBOOKS, runbooks
from tests.operating.temporal_ui import CHROMIUM
from tests.stack.servers import running_servers
from tests.workflow.scene import Payment, open_scene
from tests.workflow.stage import stage

IMAGES: Final = RUNBOOKS.parent / "images"
REASON: Final = "bank_unavailable"
LARGEST_BYTES: Final = 100_000
_COLOURS: Final = 48
_CONSOLE: Final = Console()


async def take(page: Page, name: str) -> None:
    """Keep what the page shows, in few colours."""
    await page.wait_for_timeout(1_000)  # Whatever still moves comes to rest.
    shown = Image.open(io.BytesIO(await page.screenshot())).convert("RGB")
    path = IMAGES / f"{name}.png"
    shown.quantize(_COLOURS).save(path, optimize=True)
    size = path.stat().st_size
    assert size < LARGEST_BYTES, f"{path.name} has {size} bytes"
    _CONSOLE.print(f"{path.name}: {size} bytes")


async def _parked(desk: Desk, amounts: tuple[int, ...]) -> list[Payment]:
    scene, payments = desk.scene, []
    for amount in amounts:
        person = await scene.person(balance=10_000)
        await scene.misbehave(person, FaultKind.DOWN, Operation.PUSH)
        payments.append(await scene.withdraw(person, amount, WAITS_FOR_A_PERSON))
    for payment in payments:
        await scene.parked(payment, REASON)
        await scene.findable(payment, f"Attention = '{REASON}'")
    return payments


async def _take_all(desk: Desk) -> None:
    book = runbooks()[REASON]
    condition, (payment, *_) = book.filter, await _parked(desk, (30_00, 12_50, 99_00))
    async with desk.ui() as ui:
        await ui.find(condition, payment.handle.id)
        await take(ui.page, "list")
        await ui.open(condition, payment.handle.id)
        await ui.reads("What you can do:")
        await ui.page.locator("iframe").last.scroll_into_view_if_needed()
        await take(ui.page, "parked")
        await ui.prepare_update("retry", book.take("UPDATE retry"))
        await take(ui.page, "update")
        for fault in await desk.scene.admin.faults():
            await desk.scene.admin.remove_fault(fault.fault_id)
        await ui.confirm()
        await desk.scene.finish(payment, TransactionStatus.SUCCEEDED)
        await desk.scene.findable(payment, "Attention IS NULL")
        await ui.page.reload()
        await expect(ui.page.get_by_text("Completed").first).to_be_visible()
        await ui.page.get_by_role("tab", name="User Metadata").click()
        await take(ui.page, "completed")


async def main() -> None:
    """Start what is needed, take the pictures, stop it."""
    if CHROMIUM is None:
        sys.exit("There is no Chromium on this machine.")
    IMAGES.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        home = Path(folder)
        with (
            running_servers(home / "servers") as servers,
            stage(home, servers.settings, Databases(servers.settings)) as (settings, bank),
        ):
            async with AsyncExitStack() as stack:
                scene = await stack.enter_async_context(open_scene(settings, bank))
                (home / "desk").mkdir()
                desk = await stack.enter_async_context(open_desk(scene, servers, home / "desk"))
                for at_banks in (False, True):
                    await desk.start_workers(at_banks=at_banks)
                await _take_all(desk)


if __name__ == "__main__":
    asyncio.run(main())
