"""Pictures of numbers: lines and histograms on axes. Colours and fonts are the page's, by class (style.py)."""

from collections.abc import Sequence
from dataclasses import dataclass

from diptych.export.parity.display.axes import Axis, Ticks, decimal_up, places_axis
from diptych.export.parity.display.markup import Markup, tag
from diptych.export.parity.display.words import number

# Two pictures stand side by side on a page, one on a phone: at this size text is readable in both.
_WIDTH, _HEIGHT = 480, 290
_LEFT, _RIGHT, _TOP, _BOTTOM = 60.0, 460.0, 38.0, 240.0
_LEAST = 1e-99  # no float32, nor a ratio of two; beyond are 0 and infinite
_LETTER = 7.8  # width of an average one, by which the legend is laid out
_MARKED = 40  # points of a line beyond which marks would hide each other


@dataclass(frozen=True)
class Series:
    """kind: a class of the page's style: graph, own or bound. values: one for each place, or for each bin."""

    name: str
    kind: str
    values: Sequence[float]


def lines(title: str, labels: tuple[str, str], places: Sequence[int], series: Sequence[Series]) -> Markup | None:
    """Values over places on a logarithmic scale, the first series on top; `None` if no value has a place on one."""
    drawn = [value for one in series for value in one.values if _LEAST < value < 1 / _LEAST]
    if not drawn:
        return None
    across, ticks = places_axis(places, _LEFT + 12, _RIGHT - 12)
    # A value on the lower edge would look like a 0.
    up = Axis(1 / decimal_up(1.001 / min(drawn)), decimal_up(max(drawn)), _BOTTOM, _TOP, logarithmic=True)
    marks = [_line(one, across, up) for one in reversed(series)]
    facts = [f"{one.name}: at most {number(max(one.values))}" for one in series]
    return _picture(title, labels, facts, [*_frame(ticks, up.ticks(), labels), _legend(series), *marks])


def bars(
    title: str,
    labels: tuple[str, str],
    edges: Sequence[float],
    series: Sequence[Series],
    mark: tuple[float, str] | None = None,
) -> Markup | None:
    """A histogram, with a mark across it where that is asked for; `None` if it is empty."""
    filled = [index for index in range(len(edges) - 1) if any(one.values[index] for one in series)]
    if not filled:
        return None
    shown = range(filled[0], filled[-1] + 1)
    low, high = edges[shown.start], edges[shown.stop]
    # Edges that grow by decades are meant to be read so.
    decades = edges[0] > 0 and edges[-1] >= 100 * edges[0]
    marked = [mark[0] / 2, mark[0] * 2] if mark and mark[0] > 0 else []
    across = Axis(min([low, *marked]), max([high, *marked]), _LEFT, _RIGHT, logarithmic=decades)
    up = Axis(0.0, max(max(one.values) for one in series) * 1.12, _BOTTOM, _TOP, whole=True)
    drawn = [_steps(one, edges, shown, across, up) for one in series]
    facts = [f"{one.name}: {sum(one.values):,} from {number(low)} to {number(high)}" for one in series]
    if mark:
        drawn.append(_mark(*mark, across))
        facts.append(mark[1])
    legend = [_legend(series)] if len(series) > 1 else []
    return _picture(title, labels, facts, [*_frame(across.ticks(), up.ticks(), labels), *legend, *drawn])


def _picture(title: str, labels: tuple[str, str], facts: list[str], content: list[Markup]) -> Markup:
    head = tag("title", title), tag("desc", f"{labels[1]} over {labels[0]}. {'; '.join(facts)}.")
    return tag("svg", *head, *content, role="img", viewBox=f"0 0 {_WIDTH} {_HEIGHT}")


def _frame(across: Ticks, up: Ticks, labels: tuple[str, str]) -> list[Markup]:
    """Two axes; labels: what they measure."""
    grid, texts = [], []
    for y, text in up:
        grid.append(_stroke("grid", _LEFT, y, _RIGHT, y))
        texts.append(tag("text", text, x=_LEFT - 8, y=y + 4.5, text_anchor="end"))
    for x, text in across:
        grid.append(_stroke("axis", x, _BOTTOM, x, _BOTTOM + 5))
        texts.append(tag("text", text, x=x, y=_BOTTOM + 21, text_anchor="middle"))
    grid.append(_stroke("axis", _LEFT, _BOTTOM, _RIGHT, _BOTTOM))
    texts.append(tag("text", labels[0], class_="name", x=(_LEFT + _RIGHT) / 2, y=_HEIGHT - 9, text_anchor="middle"))
    texts.append(tag("text", labels[1], class_="name", x=4, y=16))
    return [tag("g", *grid), tag("g", *texts)]


def _legend(series: Sequence[Series]) -> Markup:
    """To the right, above the picture."""
    parts: list[Markup] = []
    x = _RIGHT
    for one in reversed(series):
        x -= _LETTER * len(one.name) + 4
        parts += [_stroke(one.kind, x - 30, 11.5, x - 6, 11.5), tag("text", one.name, x=x, y=16)]
        x -= 46
    return tag("g", *parts)


def _line(series: Series, across: Sequence[float], up: Axis) -> Markup:
    points = [(x, up.at(value), up.beyond(value)) for x, value in zip(across, series.values, strict=True)]
    path = tag("polyline", class_=series.kind, points=" ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points))
    marked = [point for point in points if point[2] or len(points) <= _MARKED]
    return tag("g", path, *(_point(series.kind, *point) for point in marked))


def _point(kind: str, x: float, y: float, beyond: bool) -> Markup:
    """A triangle at an edge points to where the value is: 0 or infinite."""
    if beyond:
        base = y + 7 if y == _TOP else y - 7
        corners = f"{x - 4.5:.1f},{base:.1f} {x + 4.5:.1f},{base:.1f} {x:.1f},{y:.1f}"
        return tag("polygon", class_=f"{kind} point", points=corners)
    if kind == "bound":
        return _stroke(kind, x - 5, y, x + 5, y)
    if kind == "own":
        return tag("rect", class_="own point", x=x - 2.5, y=y - 2.5, width=5, height=5)
    return tag("circle", class_=f"{kind} point", cx=x, cy=y, r=3)


def _steps(series: Series, edges: Sequence[float], shown: range, across: Axis, up: Axis) -> Markup:
    path = [f"M{across.at(edges[shown.start]):.1f} {_BOTTOM:.1f}"]
    path += [f"V{up.at(series.values[index]):.1f}H{across.at(edges[index + 1]):.1f}" for index in shown]
    return tag("path", class_=f"{series.kind} steps", d=f"{''.join(path)}V{_BOTTOM:.1f}")


def _mark(value: float, text: str, across: Axis) -> Markup:
    x = across.at(value)
    left = x < (_LEFT + _RIGHT) / 2
    label = tag("text", text, x=x + (6 if left else -6), y=_TOP + 12, text_anchor="start" if left else "end")
    return tag("g", _stroke("mark", x, _TOP, x, _BOTTOM), label)


def _stroke(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return tag("line", class_=kind, x1=x1, y1=y1, x2=x2, y2=y2)
