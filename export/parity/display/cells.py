"""Tables of the page, and what stands in their cells."""

import re
from collections.abc import Sequence

from diptych.export.parity.display import words
from diptych.export.parity.display.markup import Markup, tag

_POWER = re.compile(r"(\d\.\de[-+]\d+x?)")


def table(columns: Sequence[str], rows: Sequence[Sequence[Markup]]) -> Markup:
    """A name that ends in # heads a column of numbers. On a phone a wide table scrolls, alone."""
    heads = [
        tag("th", name.removesuffix("#"), scope="col", class_="number" if name.endswith("#") else "word")
        if name
        else tag("td")
        for name in columns
    ]
    body = tag("tbody", *(tag("tr", *row) for row in rows))
    return tag("div", tag("table", tag("thead", tag("tr", *heads)), body), class_="scroll", tabindex="0")


def head(text: str, kind: str = "") -> Markup:
    """What its row is about."""
    return tag("th", text, scope="row", class_=kind) if kind else tag("th", text, scope="row", dir="auto")


def plain(text: str, kind: str) -> Markup:
    """kind: classes of the page's style."""
    return tag("td", text, class_=kind)


def number(value: float) -> Markup:
    return plain(words.number(value), "number")


def text(of_any_length: str) -> Markup:
    """What people wrote, or what may be long."""
    return tag("td", of_any_length, class_="long", dir="auto")


def sentence(told: str) -> Markup:
    """Text in which no number is broken after its minus."""
    parts = [tag("span", part, class_="word") if _POWER.fullmatch(part) else part for part in _POWER.split(told)]
    return tag("td", *parts, class_="long", dir="auto")


def path(name: str) -> Markup:
    """A dotted name, which may be broken after a dot."""
    parts = [part for each in name.split(".") for part in (".", tag("wbr"), each)]
    return tag("td", *parts[2:], class_="long")


def verdict(*, passed: bool | None) -> Markup:
    if passed is None:
        return plain(words.NOT_CHECKED, "word soft")
    return plain("✓ holds", "word good") if passed else plain("✗ fails", "word bad")
