"""Ratios as a picture: a row for each cell, a point for each peer with a line from the least round to the greatest."""

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log2

from harness.results import Ratio

_LEFT, _RIGHT, _TOP, _BELOW = 190, 780, 46, 44
_WIDTH = _RIGHT + 20
_COLOURS = ("#0b6e99", "#c2571a", "#5a8f29", "#7d4fa3", "#b03a5b", "#5f6b73")


def ratios(title: str, cells: Sequence[str], series: Sequence[tuple[str, Sequence[Ratio | None]]]) -> str:
    """An SVG on a logarithmic axis; right of 1, diptych is faster. series: a name, and a ratio for each cell."""
    known = [one for _, column in series for one in column if one]
    low = floor(log2(min([1.0, *(one.least for one in known)])))
    high = max(low + 1, ceil(log2(max([1.0, *(one.most for one in known)]))))
    start, step = _TOP + 18 * len(series), 14 + 5 * len(series)
    bottom = start + step * len(cells)

    def x(value: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (log2(value) - low) / (high - low), 1)

    parts = [f'<text x="12" y="24" class="title">{escape(title)}</text>']
    for index, (name, _) in enumerate(series):
        y = _TOP + 18 * index
        parts.append(f'<circle cx="{_LEFT + 5}" cy="{y - 4}" r="4.5" fill="{_colour(index)}"/>')
        parts.append(f'<text x="{_LEFT + 18}" y="{y}">{escape(name)}</text>')
    for power in range(low, high + 1):
        kind = "one" if power == 0 else "grid"
        parts.append(f'<line class="{kind}" x1="{x(2**power)}" x2="{x(2**power)}" y1="{start}" y2="{bottom}"/>')
        parts.append(f'<text x="{x(2**power)}" y="{bottom + 18}" text-anchor="middle">{2**power:g}×</text>')
    parts.append(f'<text x="{_RIGHT}" y="{bottom + 36}" text-anchor="end">times faster →</text>')
    for row, cell in enumerate(cells):
        middle = start + step * row + step / 2
        parts.append(f'<text x="{_LEFT - 10}" y="{middle + 4}" text-anchor="end">{escape(cell)}</text>')
        for index, (_, column) in enumerate(series):
            if one := column[row]:
                at = middle + 5 * (index - (len(series) - 1) / 2)
                stroke = f'stroke="{_colour(index)}" stroke-width="1.5"'
                parts.append(f'<line x1="{x(one.least)}" x2="{x(one.most)}" y1="{at}" y2="{at}" {stroke}/>')
                parts.append(f'<circle cx="{x(one.median)}" cy="{at}" r="4" fill="{_colour(index)}"/>')
    style = (
        "text{font:13px sans-serif;fill:#222}.title{font-weight:600;font-size:15px}"
        ".grid{stroke:#ddd}.one{stroke:#555;stroke-width:1.5}"
    )
    height = bottom + _BELOW
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img"><title>{escape(title)}</title><style>{style}</style>'
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]
