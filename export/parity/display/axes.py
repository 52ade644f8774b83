"""From values to places in a picture, and the ticks between."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Places in a picture with their labels.
Ticks = list[tuple[float, str]]

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_DIGIT = 10.0  # width of one at most
_NEAR = 1e-9  # what logarithms are off by


@dataclass(frozen=True)
class Axis:
    """Values from low to high are at start to end; what lies outside is put at the nearer end. whole: no fractions."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False
    whole: bool = False

    def at(self, value: float) -> float:
        low, high = self._measure(self.low), self._measure(self.high)
        return self.start + min(max((self._measure(value) - low) / (high - low), 0.0), 1.0) * (self.end - self.start)

    def beyond(self, value: float) -> bool:
        return not self.low <= value <= self.high

    def ticks(self) -> Ticks:
        """At decades, or at round numbers."""
        if self.logarithmic:
            return self._decades()
        step = decimal_up((self.high - self.low) / 5)
        step = max(step, 1.0) if self.whole else step
        steps = range(math.ceil(self.low / step), math.floor(self.high / step) + 1)
        return [(self.at(index * step), short(index * step)) for index in steps]

    def _decades(self) -> Ticks:
        """Every so many, at most seven; on less than three also what lies between."""
        low, high = self._measure(self.low) - _NEAR, self._measure(self.high) + _NEAR
        powers = range(math.ceil(low), math.floor(high) + 1)
        if len(powers) < 3:
            between = [(digit, power) for power in range(math.floor(low), powers.stop) for digit in (1, 2, 5)]
            shown = [(digit, power) for digit, power in between if low <= math.log10(digit) + power <= high]
            return [(self.at(digit * 10.0**power), _decade(power, digit)) for digit, power in shown]
        return [(self.at(10.0**power), _decade(power)) for power in powers[:: math.ceil(len(powers) / 7)]]

    def _measure(self, value: float) -> float:
        if not self.logarithmic:
            return value
        return math.log10(value) if value > 0 else -math.inf


def places_axis(places: Sequence[int], start: float, end: float) -> tuple[list[float], Ticks]:
    """Where rising places are: to scale where they follow one another, else at equal distances; and their ticks."""
    if len(places) > 1 and places[-1] - places[0] == len(places) - 1:
        axis = Axis(places[0], places[-1], start, end, whole=True)
        return [axis.at(place) for place in places], axis.ticks()
    apart = (end - start) / max(len(places) - 1, 1)
    across = [start + apart * index for index in range(len(places))] if len(places) > 1 else [(start + end) / 2]
    labels = [short(place) for place in places]
    each = math.ceil((_DIGIT * max(map(len, labels)) + 4) / apart)
    return across, list(zip(across, labels, strict=True))[::each]


def decimal_up(value: float) -> float:
    """The least of 1, 2, 5, 10, 20, 50, … and 0.5, 0.2, 0.1, … that is not below."""
    decade: float = 10.0 ** math.floor(math.log10(value))
    return next(digit * decade for digit in (1, 2, 5, 10) if digit * decade >= value * (1 - _NEAR))


def short(value: float) -> str:
    """1200000 is 1.2M, and 1200 itself."""
    if value < 1e4:
        return f"{value:.4g}"
    size, letter = next((size, letter) for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= size)
    return f"{value / size:.4g}{letter}"


def _decade(power: int, digit: int = 1) -> str:
    if power in (0, 1):
        return str(digit * 10**power)
    decade = f"10{str(power).translate(_SUPERSCRIPT)}"
    return decade if digit == 1 else f"{digit}·{decade}"
