"""The page stands alone, is well-formed, and lets no text become markup."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser

import pytest
from parity import made_reports

from diptych.export.parity.display.html import page
from diptych.export.parity.report import Histogram, Report

Make = Callable[[], Report]
EVERY = pytest.mark.parametrize("make", made_reports.EVERY)
TAGS = set(
    "html head meta title style body main header section h1 h2 h3 p span strong dl dt dd ul li div table thead tbody "
    "tr th td wbr figure figcaption svg desc g line polyline polygon path circle rect text".split()
)
# None of these can refer to anything.
ATTRIBUTES = set(
    "lang charset http-equiv content name class dir scope tabindex role viewbox x y x1 y1 x2 y2 cx cy r width height d "
    "points text-anchor".split()
)
WITHOUT_END = {"meta", "wbr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    inside: list["Element"] = field(default_factory=list)
    text: str = ""

    def all(self, tag: str) -> list["Element"]:
        return [*([self] if self.tag == tag else []), *(found for each in self.inside for found in each.all(tag))]


class Tree(HTMLParser):
    """Fails where a tag is not closed, or another one is."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self.path = [self.root]
        self.feed(text)
        self.close()
        assert self.path == [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        assert len(element.attributes) == len(attrs)
        self.path[-1].inside.append(element)
        if tag not in WITHOUT_END:
            self.path.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.path.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self.path:
            element.text += data

    def all(self, tag: str) -> list[Element]:
        return self.root.all(tag)


def everything(element: Element) -> list[Element]:
    return [element, *(found for each in element.inside for found in everything(each))]


@EVERY
def test_the_page_is_well_formed_and_refers_to_nothing(make: Make) -> None:
    tree = Tree(page(make(), "a bundle"))
    for element in everything(tree.root)[1:]:
        assert element.tag in TAGS
        assert element.attributes.keys() <= ATTRIBUTES
    (style,) = tree.all("style")
    assert not re.search(r"url|@import|http|expression", style.text)
    policies = [meta for meta in tree.all("meta") if meta.attributes.get("http-equiv") == "Content-Security-Policy"]
    assert [policy.attributes["content"] for policy in policies] == ["default-src 'none'; style-src 'unsafe-inline'"]


@EVERY
def test_the_same_report_gives_the_same_page(make: Make) -> None:
    assert page(make(), "a bundle") == page(make(), "a bundle")


@EVERY
def test_pictures_and_tables_speak_to_those_who_listen(make: Make) -> None:
    tree = Tree(page(make(), "a bundle"))
    for picture in tree.all("svg"):
        assert picture.attributes["role"] == "img"
        assert [part.tag for part in picture.inside[:2]] == ["title", "desc"]
        assert all(part.text for part in picture.inside[:2])
    for table in tree.all("table"):
        assert {head.attributes["scope"] for head in table.all("thead")[0].all("th")} == {"col"}
        columns = len(table.all("thead")[0].all("tr")[0].inside)
        for row in table.all("tbody")[0].all("tr"):
            assert len(row.inside) == columns
    headings = [element.tag for element in everything(tree.root) if re.fullmatch(r"h[1-6]", element.tag)]
    assert headings[0] == "h1"
    assert "h1" not in headings[1:]


@EVERY
def test_numbers_are_words_or_numbers(make: Make) -> None:
    tree = Tree(page(make(), "a bundle"))
    assert not re.search(r"\b(inf|nan|None|True|False)\b", tree.all("body")[0].text)
    for picture in tree.all("svg"):
        assert not any(re.search("nan|inf", str(one.attributes)) for one in everything(picture))


def test_texts_stay_texts() -> None:
    tree = Tree(page(made_reports.hostile(), made_reports.HOSTILE[0]))
    assert tree.all("h1")[0].text == made_reports.HOSTILE[0]
    answers = [row.inside[0].text for row in tree.all("table")[-1].all("tr")[1:]]
    whole = [text for text in made_reports.HOSTILE if text.isprintable()]
    assert len(whole) > 5
    assert set(whole) <= set(answers)
    assert r"\x1b[31mred\x1b[0m\x07 \x9b2J \udcff" in answers
    assert r"\u202egnp.exe" in answers


def headings(report: Report) -> list[str]:
    return [heading.text for heading in Tree(page(report, "a bundle")).all("h2")]


def captions(report: Report) -> list[str]:
    return [figure.all("strong")[0].text for figure in Tree(page(report, "a bundle")).all("figure")]


def test_sections_are_those_that_have_something_to_say() -> None:
    assert headings(made_reports.minimal()) == ["Levels"]
    assert headings(made_reports.quick()) == ["Levels", "Pictures", "Outputs"]
    assert headings(made_reports.full()) == [
        *("Levels", "Pictures", "Outputs", "Properties", "Tokens", "Answers"),
    ]
    assert headings(made_reports.failing())[1:3] == ["Failures", "Where the error enters"]


def test_pictures_are_those_that_have_data() -> None:
    by_layer = ["Error by layer: encoder.onnx", "Error by layer: decoder.onnx"]
    rest = ["Error by position", "Error by length of the past", "Errors of all values", "Margins of greedy decisions"]
    assert captions(made_reports.minimal()) == []
    assert captions(made_reports.quick()) == by_layer
    assert captions(made_reports.full()) == by_layer + rest
    assert captions(made_reports.failing()) == ["Error by layer: decoder.onnx", *rest]


def test_errors_that_no_scale_shows_are_told() -> None:
    text = Tree(page(made_reports.infinite(), "a bundle")).all("main")[0].text
    assert "Every error is 0." in text
    assert "A triangle at the edge stands for an error that is 0 or infinite." in text


def test_margins_of_equal_logits_have_no_mark_off_the_scale() -> None:
    report = made_reports.full()
    assert report.tokens is not None
    report.tokens = type(report.tokens)([], [], 0.0, None, Histogram([0.0, 1.0, 2.0], {"graph": [3, 4]}))
    tree = Tree(page(report, "a bundle"))
    (picture,) = [svg for svg in tree.all("svg") if "Margins" in svg.all("title")[0].text]
    assert "logit error 0" in picture.text


def test_an_answer_that_is_told_otherwise_is_shown() -> None:
    rows = Tree(page(made_reports.full(), "a bundle")).all("table")[-1].all("tr")[1:]
    assert [row.inside[2].text for row in rows] == ["the same", "the same", "the same", "Arrêtez !"]
    assert rows[-1].inside[-1].text == "near-tie"
