"""Level 1, tensors: every output of every graph against the truth, on shapes never traced."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import NamedTuple

import numpy as np

from diptych.export.parity.as_portable import AsPortable
from diptych.export.parity.bounds import EPSILON, FLOOR, MULTIPLE, SHORT, Deviation, distance, pooled, scale_of
from diptych.export.parity.levels import ranking
from diptych.export.parity.levels.cases import Case, Limits
from diptych.export.parity.levels.probes import Probe, probes
from diptych.export.parity.levels.properties import Tolerance
from diptych.export.parity.report import Histogram, OutputReport, Series, TensorsReport
from diptych.export.parity.sides import Sides
from diptych.model import architecture as arch
from diptych.runtime import ports
from diptych.runtime.errors import EngineError
from diptych.runtime.graph import Array
from diptych.runtime.manifest import Manifest

_SEED = 20170612
# Decades of relative error, in quarters; of huge outputs so many numbers are counted.
_EDGES = [quarter / 4 for quarter in range(-44, -3)]
_COUNTED = 1 << 16


class Found(NamedTuple):
    """How far one output was off in one case: its number, what the graph was fed, in words, and its positions."""

    number: int
    case: str
    length: int
    deviation: Deviation


class Tensors:
    """What the comparison found: `report` for people, `bound` and `logit_error` for the levels that come after."""

    def __init__(self, cases: Sequence[Case] = (), *, reduced: bool = False) -> None:
        """reduced: whether activations are rounded to steps."""
        self.cases, self._reduced = cases, reduced
        self.found: dict[tuple[str, str], list[Found]] = defaultdict(list)
        self.cannot_run: list[str] = []
        self.unranked: list[str] = []
        self._misranked: list[tuple[str, int]] = []
        # By output, of every position in every case: the graph's error and PyTorch's, as shares of the output's scale.
        self._everywhere: dict[tuple[str, str], dict[int, Array]] = defaultdict(dict)
        self.logit_error = 0.0
        self._positions: dict[int, list[tuple[float, float]]] = defaultdict(list)
        self._pasts: dict[int, list[tuple[float, float]]] = defaultdict(list)
        self._counts = {name: np.zeros(len(_EDGES) - 1, dtype=np.int64) for name in ("graph", "own")}

    def compare(self, sides: Sides, probe: Probe, number: int) -> None:
        """Run all engines on a probe, and keep how far apart they were."""
        truths = sides.truth[probe.graph].run(probe.feeds)
        owns = sides.own[probe.graph].run(probe.feeds)
        shaken = None if sides.shaken is None else sides.shaken[probe.graph].run(probe.feeds)
        try:
            values = sides.subject[probe.graph].run(probe.feeds)
        except EngineError as error:
            self.cannot_run.append(f"{probe.graph} fails ({probe.case}): {error}")
            values = {name: np.full(1, np.nan) for name in truths}
        shapes = sides.truth[probe.graph].outputs
        for name, shape in shapes.items():
            seen = [probe.seen(name, shape, outputs[name]) for outputs in (values, owns, truths)]
            deviation = Deviation.of(*seen)
            if shaken is not None:
                further = distance(probe.seen(name, shape, shaken[name]), seen[2])
                deviation = replace(deviation, own=max(deviation.own, further))
            self.found[probe.graph, name].append(Found(number, probe.case, probe.mask.shape[1], deviation))
            if not np.isfinite(deviation.error):
                continue
            self._everywhere[probe.graph, name][number] = _by_place(*seen)
            if name == ports.LOGITS:
                self.logit_error = max(self.logit_error, float(_apart(seen[0], seen[1]).max(initial=0.0)))
            if name == next(iter(shapes)):
                self._count(probe, name, *seen)
        subject = sides.subject[probe.graph]
        if isinstance(subject, AsPortable) and np.isfinite(values[ports.LOGITS]).all():
            self._rank(subject, probe, number)

    def _rank(self, subject: AsPortable, probe: Probe, number: int) -> None:
        """Of a graph that ranks its logits: how."""
        count = ranking.COUNTS[number % len(ranking.COUNTS)]
        try:
            found = subject.rank(probe.feeds, count)
        except EngineError as error:
            self.cannot_run.append(f"{probe.graph} fails ({probe.case}, the best {count}): {error}")
            return
        for problem in ranking.problems(found, count):
            self.unranked.append(f"{probe.graph}: {problem} ({probe.case})")
            self._misranked.append((probe.graph, number))
        length = probe.mask.shape[1]
        self.found[probe.graph, ports.LOG_SUM_EXP].append(Found(number, probe.case, length, ranking.log_sum(found)))

    def _count(self, probe: Probe, name: str, values: Array, own: Array, truth: Array) -> None:
        """Keep what the pictures show: of the output that the graph is for."""
        scale = scale_of(truth) or 1.0
        apart = [_apart(each, truth) / scale for each in (values, own)]
        for engine, each in zip(self._counts, apart, strict=True):
            sample = each.reshape(-1)[:: max(1, each.size // _COUNTED)]
            decades = np.log10(np.maximum(sample, 10.0 ** _EDGES[0]))
            self._counts[engine] += np.histogram(np.minimum(decades, _EDGES[-1]), _EDGES)[0]
        worst = [each.reshape(len(each), -1).max(axis=1, initial=0.0) for each in apart]
        pair = float(worst[0].max(initial=0.0)), float(worst[1].max(initial=0.0))
        self._pasts[probe.past].append(pair)
        mask = probe.new_mask if name == ports.LOGITS and ports.NUM_LOGITS_TO_KEEP in probe.feeds else probe.mask
        places = np.nonzero(mask)[1] + probe.mask.shape[1] - mask.shape[1]
        if len(places) == len(worst[0]):
            for place, one, other in zip(places.tolist(), *map(np.ndarray.tolist, worst), strict=True):
                self._positions[place].append((one, other))

    @property
    def outputs(self) -> list[OutputReport]:
        """Each output in its worst case."""
        return [self._worst(graph, name) for graph, name in self.found]

    def _worst(self, graph: str, name: str) -> OutputReport:
        worst = max(self._judged(graph, name), key=lambda found: (found.deviation.ratio, found.deviation.error))
        each = worst.deviation
        values = each.error, each.own, each.scale, each.allowed, each.ratio
        typical = self.typical(graph, name) if self._reduced else None
        return OutputReport(graph, name, *values, worst.case, len(self.found[graph, name]), typical)

    def _judged(self, graph: str, name: str) -> list[Found]:
        found = self.found[graph, name]
        together = pooled([each.deviation for each in found], [each.length for each in found])
        return [each._replace(deviation=deviation) for each, deviation in zip(found, together, strict=True)]

    def typical(self, graph: str, name: str) -> float:
        """The error at half of all positions, in units of what rounding explains there.

        Where activations are rounded to steps, few positions stray by a whole step, which a fault might hide behind.
        """
        error, own = self._medians(graph, name)
        return error / max(own, FLOOR * EPSILON) if np.isfinite(error + own) else float("inf")

    @property
    def rounds(self) -> bool:
        """Whether the graphs stray as far as rounding to steps takes PyTorch."""
        return any(self.typical(graph, name) > 1 / MULTIPLE for graph, name in self.found if name != ports.LOG_SUM_EXP)

    def tolerance(self, graph: str, name: str) -> Tolerance:
        """How far two runs may be from the truth."""
        usual = MULTIPLE * max(self._medians(graph, name)[1], FLOOR * EPSILON) if self._reduced else None
        return Tolerance(self.bound(graph, name), usual)

    def _medians(self, graph: str, name: str) -> tuple[float, float]:
        found = np.concatenate([np.zeros((2, 0)), *self._everywhere[graph, name].values()], axis=1)
        return (float(np.median(found[0])), float(np.median(found[1]))) if found.size else (0.0, 0.0)

    @property
    def comparable(self) -> bool:
        """Whether the graphs always gave numbers, and as many as they should."""
        return all(np.isfinite(each.deviation.error) for found in self.found.values() for each in found)

    def first_failure(self) -> tuple[str, int] | None:
        """The graph, and the number of the case, where an output first left its bound."""
        failing = [
            (found.number, ports.GRAPH_FILES.index(graph), graph)
            for graph, name in self.found
            for found in self._judged(graph, name)
            if not found.deviation.holds
        ]
        failing += [(number, ports.GRAPH_FILES.index(graph), graph) for graph, number in self._misranked]
        number, _, graph = min(failing, default=(0, 0, None))
        return None if graph is None else (graph, number)

    def first_usual_failure(self) -> tuple[str, int] | None:
        """The same of errors at half of all positions: the case in which there are most positions that stray."""
        for graph, name in sorted(self.found, key=lambda key: ports.GRAPH_FILES.index(key[0])):
            allowed = MULTIPLE * max(self._medians(graph, name)[1], FLOOR * EPSILON)
            if self._reduced and self._medians(graph, name)[0] > allowed:
                straying = {
                    at: np.count_nonzero(each[0] > allowed) for at, each in self._everywhere[graph, name].items()
                }
                return graph, max(straying, key=lambda at: straying[at])
        return None

    def bound(self, graph: str, name: str) -> float:
        """How far an output of few positions may be from the truth, as a share of its scale."""
        deviations = [each.deviation for each in self._judged(graph, name) if each.length <= SHORT]
        scale = max((each.scale for each in deviations), default=0.0)
        return max(each.allowed for each in deviations) / scale if scale else EPSILON

    def report(self, left_out: list[str]) -> TensorsReport:
        edges = [10.0**edge for edge in _EDGES]
        counts = {name: values.tolist() for name, values in self._counts.items()}
        return TensorsReport(
            self.outputs, _series(self._positions), _series(self._pasts), Histogram(edges, counts), left_out
        )


def compare_tensors(sides: Sides, manifest: Manifest, spec: arch.Architecture, cases: Sequence[Case]) -> Tensors:
    """Every graph in every case."""
    tensors = Tensors(cases, reduced=sides.shaken is not None)
    for number in range(len(cases)):
        for probe in numbered_probes(sides, manifest, spec, cases, number):
            tensors.compare(sides, probe, number)
    return tensors


def numbered_probes(
    sides: Sides, manifest: Manifest, spec: arch.Architecture, cases: Sequence[Case], number: int
) -> Iterator[Probe]:
    """The probes of one case, the same whenever they are asked for."""
    types = _stacks(spec)[0].embedding.token_types
    for probe in probes(cases[number], sides.truth, manifest, types, np.random.default_rng([_SEED, number])):
        yield probe.rounded(sides.subject[probe.graph].dtypes)


def limits(sides: Sides, manifest: Manifest, spec: arch.Architecture) -> Limits:
    """What the graphs, the manifest and the architecture say of sizes."""
    caches = [
        shape for graph in sides.truth.values() for name, shape in graph.inputs.items() if name.startswith("past")
    ]
    reader = sides.truth.get(ports.ENCODER_FILE) or sides.truth[ports.MODEL_FILE]
    return Limits(
        source=manifest.source_positions,
        target=manifest.target_positions,
        heads=max(layer.attention.heads for stack in _stacks(spec) for layer in stack.layers),
        cached=sum(int(shape[1]) * int(shape[3]) for shape in caches),
        read=max(prod(axis for axis in shape if isinstance(axis, int)) for shape in reader.outputs.values()),
    )


def _stacks(spec: arch.Architecture) -> list[arch.Stack]:
    match spec:
        case arch.EncoderDecoder(encoder, decoder):
            return [encoder, decoder]
        case arch.EncoderOnly(stack) | arch.DecoderOnly(stack):
            return [stack]


def _apart(values: Array, others: Array) -> Array:
    """Number by number; what is minus infinity in both is the same."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(values == others, 0.0, np.abs(values - others)))


def _by_place(values: Array, own: Array, truth: Array) -> Array:
    """[2, positions], the largest relative error of both at each; what both were only given is left out."""
    apart = [_apart(each, truth).reshape(len(truth), -1).max(axis=1, initial=0.0) for each in (values, own)]
    found = np.stack(apart) / (scale_of(truth) or 1.0)
    return np.asarray(found[:, found.any(axis=0)])


def _series(found: dict[int, list[tuple[float, float]]]) -> Series:
    places = sorted(found)
    worst = [[max(pair[side] for pair in found[place]) for place in places] for side in (0, 1)]
    return Series(places, *worst)
