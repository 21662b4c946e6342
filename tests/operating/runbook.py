"""The runbooks as text, and as something to be done block by block."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

RUNBOOKS: Final = Path(__file__).parents[2] / "docs" / "operations" / "runbooks.md"
_SECTION: Final = re.compile(r"^## (\S+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_BLOCK: Final = re.compile(r"^ *```(\S[^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the words behind its fence, and what stands in it."""

    words: str
    text: str


@dataclass
class Runbook:
    """One runbook. Whoever does it takes its blocks; `left` are those that nobody has taken yet."""

    reason: str
    left: list[Block] = field(default_factory=list)

    def take(self, words: str) -> str:
        """The next block behind these words. Raises AssertionError where there is none."""
        block = next((block for block in self.left if block.words == words), None)
        assert block is not None, f"{self.reason} has no further {words}: {self.left}"
        self.left.remove(block)
        return block.text

    @property
    def filter(self) -> str:
        """Its condition for the list of workflows."""
        return self.take("FILTER")


def runbooks() -> dict[str, Runbook]:
    """All of them, by the reason that they are for."""
    return {reason: Runbook(reason, _blocks(text)) for reason, text in _SECTION.findall(RUNBOOKS.read_text())}


def _blocks(text: str) -> list[Block]:
    return [
        Block(words, "\n".join(line.strip() for line in block.strip().splitlines()))
        for words, block in _BLOCK.findall(text)
    ]
