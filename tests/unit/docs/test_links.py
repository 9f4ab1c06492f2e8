"""What a page links to is there."""

import re

import pytest

from tests.pages import PAGES, ROOT

LINK = re.compile(r"\]\((?!https?://)(?P<path>[^)#]*)(?:#(?P<place>[^)]+))?\)")


def places_of(page: str) -> set[str]:
    """A page's headings, as links call them."""
    headings = re.findall(r"^#+ (.*)$", PAGES[page], re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES)
def test_a_link_leads_somewhere(page: str) -> None:
    for link in LINK.finditer(PAGES[page]):
        target = (ROOT / page).parent.joinpath(link["path"]).resolve() if link["path"] else None
        assert target is None or target.exists(), link[0]
        if link["place"]:
            name = page if target is None else str(target.relative_to(ROOT))
            assert link["place"] in places_of(name), link[0]


def test_links_are_found() -> None:
    assert sum(len(LINK.findall(text)) for text in PAGES.values()) > 30
