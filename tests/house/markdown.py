"""Just enough Markdown to find links and the anchors they may point at, as GitHub makes them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

_FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*$")
_INLINE = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s+<?(\S+?)>?(?:\s+\".*\")?$")
_HTML = re.compile(r"(?:href|src)=\"([^\"]+)\"")
_CODE_SPAN = re.compile(r"(`+)(?:(?!\1).)+\1")
_EXPLICIT_ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
_LINK_TEXT = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")


@dataclass(frozen=True)
class Link:
    """Where a link stands and where it points."""

    source: Path
    line: int
    target: str

    @property
    def is_outside(self) -> bool:
        """Whether it leaves the repository; such links are not followed."""
        return bool(re.match(r"[a-z][a-z0-9+.-]*:", self.target)) or self.target.startswith("//")

    def resolve(self) -> tuple[Path, str]:
        """The file or folder, and the anchor in it or ""."""
        path, _, anchor = unquote(self.target).partition("#")
        return ((self.source.parent / path).resolve() if path else self.source), anchor


def _prose(text: str) -> Iterator[tuple[int, str]]:
    fence = ""
    for number, line in enumerate(text.splitlines(), start=1):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence):
            fence = ""
        elif not fence:
            yield number, line


def links(path: Path) -> list[Link]:
    """Every link of a Markdown file, outside of code."""
    found = []
    for number, line in _prose(path.read_text()):
        bare = _CODE_SPAN.sub("`", line)
        targets = [*_INLINE.findall(bare), *_REFERENCE.findall(bare), *_HTML.findall(bare)]
        found += [Link(path, number, target) for target in targets]
    return found


def slug(heading: str) -> str:
    """The anchor of a heading: letters, digits, hyphens and underscores in lower case, spaces as hyphens."""
    plain = _LINK_TEXT.sub(r"\1", heading).replace("`", "").lower()
    return re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")


def anchors(path: Path) -> set[str]:
    """Every anchor that a Markdown file has. A repeated heading gets -1, -2 …"""
    found: dict[str, int] = {}
    explicit: set[str] = set()
    for _, line in _prose(path.read_text()):
        explicit |= set(_EXPLICIT_ANCHOR.findall(line))
        if heading := _HEADING.match(line):
            name = slug(heading[1])
            count = found.get(name, 0)
            found[name] = count + 1
            explicit.add(f"{name}-{count}" if count else name)
    return explicit
