"""Two engines of one model, compared at the points that they share."""

import math
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

from diptych.export.parity.bisection.points import End, OnnxWatched, Point, Size, Watched
from diptych.export.parity.bisection.scopes import ROOT
from diptych.export.parity.bounds import Deviation
from diptych.runtime.graph import Array, Arrays

# Bytes of the values, in float32, that an engine shows at once.
GROUP = 32 * 2**20
_STAGE = re.compile(r"(encoder|decoder)\.(embedding|layers\.\d+|norm)")

# Of values, own and truth.
Measure = Callable[[Array, Array, Array], Deviation]
Pairs = dict[Point, list[Point]]
Key = TypeVar("Key", bound=Hashable)


class Comparison:
    """How far an ONNX graph is off, at the points that it shares with its reference.

    pairs: those points, and which of the reference's each may be. measure: how far apart values are.
    """

    def __init__(
        self, subject: OnnxWatched, reference: Watched, own: Watched, feeds: Arrays, measure: Measure = Deviation.of
    ) -> None:
        self.measure = measure
        self.subject, self.reference, self.own, self.feeds = subject, reference, own, feeds
        self.shapes = subject.shapes(feeds)
        self.others = reference.shapes(feeds)
        self.pairs = pair(self.shapes, self.others)
        self._known: dict[Point, Deviation] = {}

    def compare(self, points: Iterable[Point]) -> dict[Point, Deviation]:
        """All at once."""
        points = [point for point in points if point in self.pairs]
        others = {other for point in points for other in self.pairs[point]}
        truth = self.reference.observe(others, self.feeds)
        own = self.own.observe(others, self.feeds)
        values = self.subject.observe(points, self.feeds)
        return {
            point: self._closest(values[point], [(own[other], truth[other]) for other in self.pairs[point]], point.end)
            for point in points
        }

    def _closest(self, values: Array, candidates: list[tuple[Array, Array]], end: End) -> Deviation:
        """From the nearest of those that the values may be, (own, truth) each."""
        if end == "input":
            candidates = [laid for own, truth in candidates for laid in _layouts(own, truth, values.shape)]
        found = (self.measure(_laid_like(values, truth.shape), own, truth) for own, truth in candidates)
        return min(found, key=lambda each: each.ratio)

    def deviations(self, points: Iterable[Point]) -> dict[Point, Deviation]:
        """Of those that can be compared, a group at a time, each once."""
        wanted = [point for point in points if point in self.pairs]
        for group in self._groups([point] for point in wanted if point not in self._known):
            self._known |= self.compare(point for points in group for point in points)
        return {point: self._known[point] for point in wanted}

    def first_fault(self, values: Iterable[list[Point]]) -> list[Point] | None:
        """The points of the first value that does not hold at all of its points."""
        for group in self._groups(values):
            found = self.deviations(point for points in group for point in points)
            for points in group:
                if not all(found[point].holds for point in points):
                    return points
        return None

    def stages(self) -> list[Point]:
        """The states between layers, [.., .., width] each, in the graph's order."""
        states = [
            point
            for point, shape in self.shapes.items()
            if point.end == "output" and _STAGE.fullmatch(point.module) and len(shape) == 3 and point in self.pairs
        ]
        return sorted(states, key=self.order)

    def values(self) -> list[list[Point]]:
        """The points of each value, in the graph's order, and then along its way: out of modules, into others."""
        values: dict[str, list[Point]] = {}
        for point in sorted(self.pairs, key=lambda point: (self.order(point), _way(point))):
            if self.order(point) >= 0:
                values.setdefault(self.subject.names[point], []).append(point)
        return list(values.values())

    def order(self, point: Point) -> int:
        return self.subject.scopes.order[self.subject.names[point]]

    def _groups(self, values: Iterable[list[Point]]) -> Iterator[list[list[Point]]]:
        group: list[list[Point]] = []
        held = 0
        for points in values:
            size = 4 * math.prod(self.shapes[points[0]]) * max(len(self.pairs[point]) for point in points)
            if group and held + size > GROUP:
                yield group
                group, held = [], 0
            group.append(points)
            held += size
        if group:
            yield group


def pair(ours: Mapping[Point, Size], others: Mapping[Point, Size]) -> Pairs:
    """Which points of another engine each may be: of one module and end, those of the same shape, in order.

    Two of one shape may be either, for what is used first is a matter of chance: keys and values, cosines and sines.
    A single one is paired whatever its shape, and the one that is left if the others are: that may be the fault.
    """
    pairs: Pairs = {}
    borders = _by(others, _border)
    for border, points in _by(ours, _border).items():
        theirs = borders.get(border, [])
        if len(points) == len(theirs) and (border[0] == ROOT or len(points) == 1):
            pairs |= {point: [other] for point, other in zip(points, theirs, strict=True)}
            continue
        candidates = _by(theirs, lambda point: _layout(others[point]))
        for layout, alike in _by(points, lambda point: _layout(ours[point])).items():
            pairs |= _in_order(alike, candidates.get(layout, []))
        taken = {other for point in points for other in pairs.get(point, [])}
        left = [point for point in points if point not in pairs], [other for other in theirs if other not in taken]
        if len(left[0]) == len(left[1]) == 1 and len(ours[left[0][0]]) == len(others[left[1][0]]):
            pairs[left[0][0]] = left[1]
    return pairs


def _in_order(points: list[Point], others: list[Point]) -> Pairs:
    match len(points), len(others):
        case 2, 2:
            return {points[0]: others, points[1]: others[::-1]}
        case some, same if some == same:
            return {point: [other] for point, other in zip(points, others, strict=True)}
        case _:
            return {}


def _laid_like(values: Array, shape: Size) -> Array:
    """A graph for one token may do without the axis of tokens."""
    longer = [[size for size in each if size != 1] for each in (values.shape, shape)]
    return values.reshape(shape) if longer[0] == longer[1] else values


def _layouts(own: Array, truth: Array, shape: Size) -> list[tuple[Array, Array]]:
    """[B, H, S, D], and as [B, S, H, D] if that has the shape: a graph may transpose on either side of a border."""
    laid = [(own, truth), (own.swapaxes(1, 2), truth.swapaxes(1, 2))] if truth.ndim == 4 else []
    return [both for both in laid if both[1].shape == shape] or [(own, truth)]


def _layout(shape: Size) -> Size:
    """The same for both."""
    return shape if len(shape) != 4 else (shape[0], *sorted(shape[1:3]), shape[3])


def _border(point: Point) -> tuple[str, End]:
    return point.module, point.end


def _by(points: Iterable[Point], key: Callable[[Point], Key]) -> dict[Key, list[Point]]:
    groups: dict[Key, list[Point]] = {}
    for point in points:
        groups.setdefault(key(point), []).append(point)
    return groups


def _way(point: Point) -> tuple[bool, int]:
    """Out of the innermost module first, into the outermost first."""
    depth = len(point.module.split(".")) if point.module else 0
    return (False, -depth) if point.end == "output" else (True, depth)
