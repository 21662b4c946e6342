"""An operator's hands in the Temporal UI, in the machine's Chromium."""

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from playwright.async_api import BrowserContext, Locator, Page, async_playwright, expect
from playwright.async_api import TimeoutError as TooLate

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
UNDER_LOAD_MS: Final = 60_000
_READINGS: Final = 4
"""The UI asks a worker for the details, which may be late on a busy machine."""
_PRESSES: Final = 3
"""An update that the server has lost comes again under the same id with the next press, so it is taken once."""
_RUNS: Final = 5
"""In tests a payment is continued after a few attempts, and a busy machine is slow to send what was pressed."""
_CONFIRM: Final = "[data-testid='confirm-modal-button']:visible"
_RUN_IS_OVER: Final = "workflow execution already completed"


class ContinuedError(Exception):
    """The page is of a run that has been continued by another one meanwhile."""


@dataclass(frozen=True)
class TemporalUi:
    """The UI at `url`, in one tab."""

    url: str
    page: Page

    async def find(self, condition: str, workflow_id: str) -> Locator:
        """Filter the list of workflows; the line's link of the one that is looked for."""
        await self.page.goto(f"{self.url}/namespaces/default/workflows?query={quote(condition)}")
        link = self.page.get_by_role("link", name=workflow_id, exact=True)
        await expect(link.first).to_be_visible(timeout=UNDER_LOAD_MS)
        return link.first

    async def open(self, condition: str, workflow_id: str) -> None:
        """Filter the list of workflows and open one of them."""
        await (await self.find(condition, workflow_id)).click()

    async def reads(self, *words: str) -> None:
        """See these words in the current details."""
        for _ in range(_READINGS):
            await self.page.get_by_role("tab", name="User Metadata").click()
            # The UI shows Markdown in frames of its own: that of the summary, then that of the current details.
            details = self.page.locator("iframe").last.content_frame
            try:
                for each in words:
                    await expect(details.get_by_text(each).first).to_be_visible(timeout=UNDER_LOAD_MS / _READINGS)
            except AssertionError as error:
                missing = error
            else:
                return
            await self.page.reload()
        raise missing

    async def choose(self, action: str) -> None:
        """*More Actions*, and one of them; again where the menu closes because the page has changed."""
        item = self.page.get_by_role("menuitem", name=action)
        for _ in range(_READINGS):
            if not await item.is_visible():
                await self.page.get_by_role("button", name="More Actions").click()
            try:
                await item.click(timeout=UNDER_LOAD_MS / _READINGS)
            except TooLate as error:
                missing = error
            else:
                return
        raise missing

    async def prepare_update(self, name: str, data: str) -> None:
        """*Send an Update*: the dialog filled in, and not sent yet."""
        await self.choose("Send an Update")
        await self.page.locator("[data-testid='update-select-button']:visible").click()
        await self.page.locator("li:visible").filter(has_text=re.compile(rf"^\s*{name}\s")).first.click()
        await self.page.get_by_role("textbox", name="Data").click()
        await self.page.keyboard.press("ControlOrMeta+a")
        await self.page.keyboard.insert_text(data)
        # The editor lays its text out anew when it is left, and the buttons move.
        await self.page.locator("#update-id:visible").click()

    async def send_update(self, name: str, data: str) -> None:
        """Send an Update and see that it was taken; by the latest run, as the guide says, where the page's is over."""
        for _ in range(_RUNS):
            await self.prepare_update(name, data)
            try:
                await self.confirm()
            except ContinuedError as error:
                over = error
            else:
                return
            latest = self.page.locator("dt", has_text="Latest Execution").locator("xpath=following-sibling::dd[1]//a")
            await self.page.goto(f"{self.url}{await latest.get_attribute('href')}")
        raise over

    async def confirm(self) -> None:
        """Press the dialog's button and see the dialog go; again where it stays, as the guide says.

        Raises ContinuedError, and AssertionError with what the dialog says.
        """
        button, said = self.page.locator(_CONFIRM), list[str]()
        await button.click()
        for _ in range(_PRESSES):
            try:
                await expect(button).to_have_count(0, timeout=UNDER_LOAD_MS / _PRESSES)
            except AssertionError:
                said.append(await self.page.locator("body").inner_text())
                if _RUN_IS_OVER in said[-1]:
                    raise ContinuedError from None
                with suppress(TooLate):  # It has gone this moment, or its answer is still to come.
                    await button.click(timeout=1_000)
            else:
                return
        raise AssertionError("the dialog has stayed:\n" + "\n----\n".join(said))


@asynccontextmanager
async def tabs() -> AsyncIterator[BrowserContext]:
    """The machine's Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(UNDER_LOAD_MS)
        yield context
        await browser.close()
