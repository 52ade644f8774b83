"""Which modules stay in more bits, so that a bound on what fewer cost holds."""

from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256
from itertools import accumulate
from pathlib import Path

from diptych.export.errors import ExportError
from diptych.export.precision.noise import Noise
from diptych.export.precision.places import places
from diptych.export.precision.quality import Expected, quality, told
from diptych.export.precision.reduce import Models, reduce_weights
from diptych.export.precision.scratch import Announce, temporary
from diptych.export.weights_file import write_models
from diptych.runtime.graph import OrtGraph
from diptych.runtime.manifest import Precision
from diptych.runtime.providers import SessionSettings

AGREEMENT = 0.98
# If more of the weights had to stay as they are, the bundle would not be worth its name.
_MOST_KEPT = 0.5
# In which precision modules of one are kept, one after the other.
_BETTER = {"int8": {"int8": "fp32"}, "int4": {"int4": "int8", "int8": "fp32"}}
_FEW_POSITIONS = 120


def choose(
    models: Models, precision: str, bound: float, references: Sequence[Expected], scratch: Path, announce: Announce
) -> Precision:
    """What is to be kept so that an agreement of `bound` holds, and what was measured.

    models: the portable graphs in float32, which stay as they are. references: what they say. scratch: where files may
    lie meanwhile. Modules with which the model loses most are kept first: of int4 in int8 first, then in float32.
    Raises ExportError if more than half of the weights would have to stay in float32.
    """
    trials = Trials(models, precision, references, scratch, announce)
    layers = trials.layers()
    kept = trials.search(bound)
    if kept is None or _share_kept(models, kept) > _MOST_KEPT:
        raise ExportError(
            f"{precision} does not hold an agreement of {bound:.2%}: with nothing kept it is "
            f"{trials.measured({})['agreement']:.2%}, and with half of the weights kept it is still less; ask for less "
            "with --quality, or for more bits with --precision"
        )
    return Precision(precision, kept, trials.measured(kept) | {"bound": bound}, layers)


class Trials:
    """Reduced graphs beside those in float32, tried with more and more modules kept."""

    def __init__(
        self, models: Models, precision: str, references: Sequence[Expected], scratch: Path, announce: Announce
    ) -> None:
        self._models, self._precision, self._references = models, precision, references
        self._scratch, self._announce = scratch, announce
        self._groups = groups(models)
        self._found: dict[tuple[tuple[str, str], ...], dict[str, float]] = {}

    def layers(self) -> dict[str, float]:
        """Signal over noise by module."""
        with temporary(self._scratch) as folder:
            return Noise(self._models, self._precision, self._groups, folder).signal_to_noise(self._references)

    def search(self, bound: float) -> dict[str, str] | None:
        """The fewest modules with which the bound holds, if it does with all of them."""
        kept: dict[str, str] = {}
        for name, better in _BETTER[self._precision].items():
            if self.measured(kept)["agreement"] >= bound:
                return kept
            kept = self._least(bound, list(accumulate(self._steps(name), partial(_with, better), initial=kept)))
        return kept if self.measured(kept)["agreement"] >= bound else None

    def measured(self, kept: Mapping[str, str]) -> dict[str, float]:
        key = tuple(sorted(kept.items()))
        if key not in self._found:
            copies = [(file, model.clone()) for file, model in self._models]
            reduce_weights(copies, self._precision, kept)
            with temporary(self._scratch) as folder:
                write_models(copies, folder)
                engines = {file: OrtGraph(folder / file, SessionSettings()) for file, _ in copies}
                self._found[key] = quality(self._references, engines)
            more = f" with {len(kept)} modules in more" if kept else ""
            self._announce(f"measured {self._precision}{more}: {told(self._found[key])}")
        return self._found[key]

    def _steps(self, precision: str) -> list[Sequence[str]]:
        """Modules that share a weight, those first that alone cost most."""
        self._announce(f"measuring what each layer costs in {precision}")
        few = _few(self._references)
        with temporary(self._scratch) as folder:
            losses = Noise(self._models, precision, self._groups, folder).losses(few)
        return [self._groups[number] for number in sorted(range(len(losses)), key=lambda number: -losses[number])]

    def _least(self, bound: float, stages: Sequence[dict[str, str]]) -> dict[str, str]:
        """The first stage after none that holds the bound, or the last: found twice as far each time, then between."""

        def holds(count: int) -> bool:
            return count == len(stages) - 1 or self.measured(stages[count])["agreement"] >= bound

        low, high = 0, 1
        while not holds(high):
            low, high = high, min(2 * high, len(stages) - 1)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(middle) else (middle, high)
        return stages[high]


def groups(models: Models) -> list[Sequence[str]]:
    """Modules by weight: those that share one are together, in whatever graph they are."""
    found: dict[tuple[tuple[int, ...], bytes], dict[str, None]] = {}
    for _, model in models:
        for place in places(model.graph):
            weight = place.weight()
            key = weight.shape, sha256(weight.tobytes()).digest()
            found.setdefault(key, {})[place.module] = None
    return [tuple(modules) for modules in found.values()]


def _with(better: str, kept: dict[str, str], group: Sequence[str]) -> dict[str, str]:
    return kept | dict.fromkeys(group, better)


def _few(references: Sequence[Expected]) -> list[Expected]:
    """The shortest examples: each module is tried on all of them."""
    found: list[Expected] = []
    for reference in sorted(references, key=lambda each: each.positions):
        if found and sum(each.positions for each in found) + reference.positions > _FEW_POSITIONS:
            break
        found.append(reference)
    return found


def _share_kept(models: Models, kept: Mapping[str, str]) -> float:
    """Of the weights that could be reduced, the share that stays in float32."""
    sizes = {place.module: place.weight().size for _, model in models for place in places(model.graph)}
    return sum(sizes[module] for module, name in kept.items() if name == "fp32") / max(1, sum(sizes.values()))
