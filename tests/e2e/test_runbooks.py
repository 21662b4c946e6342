"""A runbook is done as it is written: a browser in the Temporal UI, with the words of the runbook's own blocks."""

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from bank_adapters.simulator.faults import FaultKind, Operation
from domain.contracts.payments import RetryPlan
from domain.transactions import TransactionStatus
from tests.money.fixtures import databases  # noqa: F401  -- a fixture
from tests.workflow.conftest import idle_scene, own_stage, scene  # noqa: F401  -- fixtures
from tests.workflow.scene import OPENING, Scene

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
RUNBOOKS = Path(__file__).parents[2] / "docs" / "operations" / "runbooks.md"
UNDER_LOAD_MS = 60_000
WAITS_FOR_A_PERSON = RetryPlan(quick_retry_seconds=2, slow_retry_seconds=600, settlement_poll_seconds=0.2)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


def blocks(reason: str) -> dict[str, str]:
    """The fenced blocks of a reason's runbook, by the words behind their fences."""
    _, section = RUNBOOKS.read_text().split(f"\n## {reason}\n")
    found = re.findall(r"^ *```(\S[^\n]*)\n(.*?)^ *```$", section.split("\n## ")[0], re.MULTILINE | re.DOTALL)
    return {words: "\n".join(line.strip() for line in block.strip().splitlines()) for words, block in found}


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """The machine's Chromium."""
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        await opened.close()


async def open_found(page: Page, ui: str, condition: str) -> None:
    """Find the one payment by the filter, and open its page."""
    await page.goto(f"{ui}/namespaces/default/workflows?query={quote(condition)}")
    await page.locator("a[href*='/workflows/cli_'], a[href*='/workflows/cli%']").first.click()


async def send_update(page: Page, name: str, data: str) -> None:
    """*More Actions*, *Send an Update*."""
    await page.get_by_role("button", name="More Actions").click()
    await page.get_by_role("menuitem", name="Send an Update").click()
    await page.locator("[data-testid='update-select-button']:visible").click()
    await page.locator("li:visible").filter(has_text=re.compile(rf"^\s*{name}\s")).first.click()
    field = page.get_by_role("textbox", name="Data")
    await field.click()
    await page.keyboard.press("ControlOrMeta+a")
    await page.keyboard.insert_text(data)
    # The editor lays its text out anew when it is left, and the buttons move.
    await page.locator("#update-id:visible").click()
    submit = page.locator("[data-testid='confirm-modal-button']:visible")
    await submit.click()
    await expect(submit).to_have_count(0, timeout=UNDER_LOAD_MS)


async def test_bank_unavailable(scene: Scene, browser: Browser) -> None:  # noqa: F811
    person = await scene.person(balance=1_000)
    fault = await scene.misbehave(person, FaultKind.DOWN, Operation.PUSH)
    payment = await scene.withdraw(person, 300, WAITS_FOR_A_PERSON)
    await scene.parked(payment, "bank_unavailable")
    steps = blocks("bank_unavailable")
    await scene.findable(payment, steps["FILTER"])
    await scene.admin.remove_fault(fault)
    page = await browser.new_page()
    page.set_default_timeout(UNDER_LOAD_MS)
    await open_found(page, scene.settings.temporal_ui_url, steps["FILTER"])
    await send_update(page, "retry", steps["UPDATE retry"])
    await scene.finish(payment, TransactionStatus.SUCCEEDED)
    assert await scene.all_of(person) == (700, 0, OPENING - 700)
    assert [(kind, by) for kind, by, _ in await scene.told(payment)] == [("retry", "maria")]
