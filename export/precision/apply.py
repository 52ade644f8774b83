"""The precision that an export asks for, put into its graphs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diptych.export.errors import ExportError
from diptych.export.precision.calibration import Example, examples
from diptych.export.precision.choose import choose
from diptych.export.precision.half import halve
from diptych.export.precision.overflow import too_large
from diptych.export.precision.quality import Expected, expected, quality, told
from diptych.export.precision.reduce import Models, reduce_weights
from diptych.export.precision.scratch import Announce, temporary
from diptych.export.weights_file import write_models
from diptych.runtime.bundle import Bundle
from diptych.runtime.errors import OptionError
from diptych.runtime.graph import OrtGraph
from diptych.runtime.manifest import PRECISIONS, Precision
from diptych.runtime.providers import SessionSettings


@dataclass(frozen=True)
class Wanted:
    """precision: one of `PRECISIONS`. quality: the least share of predictions that stay the same; layers are kept in
    more bits until they do. texts: lines to measure on, with a tab and the expected text after each, or without.
    """

    precision: str = "fp32"
    quality: float | None = None
    texts: Sequence[str] | None = None

    def check(self, target: str) -> None:
        """Raises OptionError for a precision that is none, and for what would be passed over."""
        if self.precision not in PRECISIONS:
            raise OptionError(f"precision {self.precision!r} is not one of {', '.join(PRECISIONS)}")
        if self.precision == "fp16" and target == "cpu":
            raise OptionError("fp16 is for GPUs and browsers: a CPU has no kernels for it; choose int8, or no target")
        if self.quality is not None and not 0 < self.quality <= 1:
            raise OptionError(f"quality is {self.quality:g}, expected a share of predictions, above 0 and at most 1")
        if self.quality is not None and self.precision not in ("int8", "int4"):
            raise OptionError(f"quality is for int8 and int4; in {self.precision} no layers are chosen by it")
        if self.texts is not None and not self.texts:
            raise OptionError("texts: expected one at least, found none")
        if self.texts is not None and self.quality is None and self.precision != "fp16":
            raise OptionError("texts are to measure quality on; give a quality, too, or leave them out")


@dataclass(frozen=True)
class Workshop:
    """What it takes to run graphs meanwhile.

    portable: traces those that a decoder's cache grows in. write: makes a bundle of graphs in an empty folder. scratch:
    where such folders may be. announce: told what is measured.
    """

    portable: Callable[[], Models]
    write: Callable[[Models, Path], Bundle]
    scratch: Path
    announce: Announce

    def references(self, models: Models, texts: Sequence[str] | None) -> list[Expected]:
        """What the float32 graphs say. Raises ExportError if no text can be read."""
        with temporary(self.scratch) as folder:
            bundle = self.write([(file, model.clone()) for file, model in models], folder)
            engines = dict(bundle.sessions(SessionSettings()))
            return expected(examples(bundle, engines, texts), engines)


def apply(models: Models, wanted: Wanted, workshop: Workshop) -> Precision:
    """Rewrite `models`, which are in float32, and tell how. Raises ExportError if the quality cannot be had."""
    if wanted.precision == "fp32":
        return Precision()
    workshop.announce(f"reducing to {wanted.precision}")
    if wanted.precision == "fp16":
        return _halve(models, wanted, workshop)
    chosen = Precision(wanted.precision)
    if wanted.quality is not None:
        portable = workshop.portable()
        references = workshop.references(portable, wanted.texts)
        chosen = choose(portable, wanted.precision, wanted.quality, references, workshop.scratch, workshop.announce)
    reduce_weights(models, wanted.precision, chosen.kept)
    return chosen


def _halve(models: Models, wanted: Wanted, workshop: Workshop) -> Precision:
    """Values are too large, or not, in the texts that come along or are given."""
    references = workshop.references(models, wanted.texts)
    given: list[Example] = [each.example for each in references]
    with temporary(workshop.scratch) as folder:
        large = too_large(models, given, folder)
    kept = {module: "fp32" for file, model in models for module in halve(model.graph, large[file])}
    with temporary(workshop.scratch) as folder:
        copies = [(file, model.clone()) for file, model in models]
        write_models(copies, folder)
        engines = {file: OrtGraph(folder / file, SessionSettings()) for file, _ in copies}
        found = quality(references, engines)
    if not np.isfinite(found.get("divergence", found["agreement"])):
        raise ExportError("in fp16 the graphs say what are no numbers, though no value seen is too large; use fp32")
    workshop.announce(f"measured fp16: {told(found)}")
    return Precision(wanted.precision, kept, found)
