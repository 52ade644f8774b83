"""In a real browser the pictures are seen, their words do not collide, and nothing is asked of any other machine."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from parity import made_reports

from diptych.export.parity.display.html import page
from diptych.export.parity.report import Report

Make = Callable[[], Report]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no browser is installed")

WIDTHS = (360, 700, 1100)
# The page as it is, in frames as wide as screens. Places are in the units of each picture's viewBox, which has no
# transforms; `seen` is in pixels of the screen.
FRAMES = """<!doctype html>
%s
<script>
const MARKS = "polyline, polygon, path, circle, rect, line";
const box = mark => { const b = mark.getBBox(); return [b.x, b.y, b.x + b.width, b.y + b.height]; };
const measure = svg => ({
  title: svg.querySelector("title").textContent,
  size: [svg.viewBox.baseVal.width, svg.viewBox.baseVal.height],
  seen: [svg.getBoundingClientRect().width, svg.getBoundingClientRect().height],
  letters: [...svg.querySelectorAll("text")].map(text => parseFloat(getComputedStyle(text).fontSize)),
  texts: [...svg.querySelectorAll("text")].map(box),
  marks: [...svg.querySelectorAll(MARKS)].map(box),
  colours: [...new Set([...svg.querySelectorAll(MARKS)].map(mark => getComputedStyle(mark).stroke))],
});
onload = () => {
  const told = document.createElement("pre");
  told.id = "told";
  told.textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(({contentDocument: page}) => ({
    wide: page.documentElement.scrollWidth,
    pictures: [...page.querySelectorAll("svg")].map(measure),
  })));
  document.body.append(told);
};
</script>
"""


def browse(file: Path, *options: str) -> str:
    """The page's elements once it is shown. No name resolves, so that the browser itself reaches nothing either."""
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
    ]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={file.parent / 'browser'}", *options]
    done = subprocess.run([*command, "--dump-dom", file.as_uri()], capture_output=True, timeout=120, check=True)
    return done.stdout.decode()


def measured(file: Path, text: str) -> list[dict[str, Any]]:
    """What there is to see of a page, on each width of screen."""
    frames = [f'<iframe srcdoc="{html.escape(text)}" style="border: 0; width: {width}px"></iframe>' for width in WIDTHS]
    file.write_text(FRAMES % "\n".join(frames), encoding="utf-8")
    found = re.search(r'<pre id="told">(.*?)</pre>', browse(file), re.DOTALL)
    assert found
    return list(json.loads(html.unescape(found[1])))


def asked(log: Path) -> list[str]:
    """Addresses that a page asked for; what a browser asks on its own account has no origin."""
    found = json.loads(log.read_text(encoding="utf-8"))
    start = found["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    requests = [event["params"] for event in found["events"] if event["type"] == start and "url" in event["params"]]
    return [request["url"] for request in requests if request["initiator"] != "not an origin"]


@pytest.mark.parametrize("make", made_reports.EVERY[1:])
def test_pictures_are_seen_and_their_words_do_not_collide(make: Make, tmp_path: Path) -> None:
    for width, found in zip(WIDTHS, measured(tmp_path / "frames.html", page(make(), "a bundle")), strict=True):
        assert found["wide"] <= width
        assert found["pictures"]
        for picture in found["pictures"]:
            across, down = picture["size"]
            assert min(picture["seen"]) > 180
            assert min(picture["letters"]) * picture["seen"][0] / across > 9.9
            assert "none" not in picture["colours"]
            for left, top, right, bottom in picture["texts"] + picture["marks"]:
                assert 0 <= left <= right <= across, picture
                assert 0 <= top <= bottom <= down, picture
            for index, one in enumerate(picture["texts"]):
                for other in picture["texts"][:index]:
                    apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
                    assert apart, (picture["title"], one, other)


@pytest.mark.parametrize("make", [made_reports.full, made_reports.hostile])
def test_the_page_asks_for_nothing(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(page(make(), made_reports.HOSTILE[1]), encoding="utf-8")
    elements = browse(file, f"--log-net-log={tmp_path / 'log'}")
    assert "</main>" in elements
    assert "<script" not in elements
    assert asked(tmp_path / "log") == []


def test_a_page_that_asks_is_caught(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(
        '<img src="http://127.0.0.1:9/picture"><style>p { background: url(http://a.invalid/style) }</style><p>a',
        encoding="utf-8",
    )
    browse(file, f"--log-net-log={tmp_path / 'log'}")
    assert sorted(asked(tmp_path / "log")) == ["http://127.0.0.1:9/picture", "http://a.invalid/style"]
