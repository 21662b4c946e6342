"""No Markdown file points at a file or a heading that is not there."""

from pathlib import Path

import pytest

from tests.house.markdown import Link, anchors, links, slug
from tests.house.tree import ROOT, files, named

PAGES = [path for path in files() if path.suffix == ".md"]


def _why_dead(link: Link) -> str | None:
    target, anchor = link.resolve()
    if not target.is_relative_to(ROOT):
        return "leaves the repository"
    if not target.exists():
        return "is not there"
    if anchor and target.suffix == ".md" and anchor not in anchors(target):
        return f"has no heading #{anchor}"
    return None


def test_pages_are_found() -> None:
    assert {"README.md", "docs/README.md", "docs/architecture.md"} <= {named(page) for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    inside = [link for link in links(page) if not link.is_outside]
    dead = [f"{named(page)}:{link.line}: {link.target} {why}" for link in inside if (why := _why_dead(link))]
    assert dead == []


def test_architecture_links_to_real_code() -> None:
    targets = [link.resolve()[0] for link in links(ROOT / "docs/architecture.md") if not link.is_outside]
    layers = {named(path).split("/")[0] for path in targets if path.suffix == ".py"}
    assert {"api", "workflows", "activities", "ledger", "events", "infra", "domain"} <= layers


def test_a_dead_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Some `code` title!\n[a](gone.md) [b](#some-code-title) [c](#no)\n`[d](no.md)`\n```\n[e](f)\n```\n"
    )
    found = links(page)
    assert [link.target for link in found] == ["gone.md", "#some-code-title", "#no"]
    assert not found[0].resolve()[0].exists()
    assert anchors(page) == {"some-code-title"}
    assert slug("2. What's [here](x.md), really?") == "2-whats-here-really"


def test_the_map_of_the_documentation_leaves_nothing_out() -> None:
    mapped = {link.resolve()[0] for link in links(ROOT / "docs/README.md") if not link.is_outside}
    left_out = [named(page) for page in PAGES if named(page).startswith("docs/") and page not in mapped]
    assert [name for name in left_out if not name.startswith("docs/adr/0") and name != "docs/README.md"] == []
