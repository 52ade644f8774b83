"""The results of the benchmarks as tables and pictures in docs/performance.md: `python benchmarks/document.py`.

What stands there between `<!-- NAME -->` and `<!-- end of NAME -->` is made anew from NAME.json in
build/benchmarks/results; all else is left as it is. A benchmark without results keeps what the document has.
"""

import json
import sys
from pathlib import Path
from typing import Any

from harness import charts, tables
from harness.folders import RESULTS, ROOT
from harness.results import ratio_of_cell
from real_text import quality

DOCUMENT = ROOT / "docs" / "performance.md"
TITLES = {
    "seq2seq": "Encoder-decoders, random weights",
    "real_text": "The example's model on its test sentences",
    "decoder_only": "Decoder-only, random weights",
    "encoder_only": "Encoders, random weights",
}


def main() -> int:
    text = DOCUMENT.read_text(encoding="utf-8")
    for name in TITLES:
        path = RESULTS / f"{name}.json"
        if path.is_file():
            results = json.loads(path.read_text(encoding="utf-8"))
            text = with_part(text, name, part(results, DOCUMENT.parent / "images"))
    DOCUMENT.write_text(text, encoding="utf-8")
    return 0


def part(results: dict[str, Any], images: Path) -> str:
    """What the document says of one benchmark; its picture is written into `images`."""
    name, cells = results["benchmark"], results["cells"]
    columns = [
        (f"{ours} against {peer}", [ratio_of_cell(cell, ours, peer) for cell in cells])
        for ours, peer in tables.pairs(results)
        if "portable" not in ours
    ]
    images.mkdir(parents=True, exist_ok=True)
    picture = charts.ratios(TITLES[name], [cell["name"] for cell in cells], columns)
    (images / f"{name}.svg").write_text(picture, encoding="utf-8")
    shown = f"![{TITLES[name]}: how many times faster](images/{name}.svg)\n"
    sections = [about(results), shown, tables.ratios(results), tables.times(results), tables.memory(results)]
    sections.append(quality(results) if name == "real_text" else tables.agreements(results))
    sections.append(tables.failures(results))
    return "\n".join(section for section in sections if section)


def about(results: dict[str, Any]) -> str:
    """The machine, the versions and the settings, in a few lines."""
    machine, settings = results["machine"], results["settings"]
    versions: dict[str, str] = {}
    for cell in results["cells"]:
        for measured in cell["systems"].values():
            versions |= measured["versions"]
    return (
        f"{machine['processor']} (family and model {machine['family and model']}; "
        f"{', '.join(machine['instructions'])}), {machine['processors']} processors, "
        f"{machine['memory'] / 1e9:.0f} GB, {machine['system']}, Python {machine['python']}; {machine['time']}. "
        f"{settings['threads']} threads, medians of {settings['rounds']} rounds. "
        + ", ".join(f"{package} {version}" for package, version in sorted(versions.items()))
        + ".\n"
    )


def with_part(text: str, name: str, content: str) -> str:
    """The text with what stands between a benchmark's marks replaced. Raises ValueError if it has no such marks."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, mark, rest = text.partition(begin)
    _, other, after = rest.partition(end)
    if not (mark and other):
        raise ValueError(f"{DOCUMENT}: expected the lines {begin.strip()} and {end}, between which results go")
    return f"{before}{begin}\n{content}\n{end}{after}"


if __name__ == "__main__":
    sys.exit(main())
