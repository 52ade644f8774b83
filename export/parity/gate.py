"""The gate: all levels over one bundle, each in its own words in one report."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from diptych.export.parity.bounds import MULTIPLE
from diptych.export.parity.compared import Compared
from diptych.export.parity.levels import quality
from diptych.export.parity.levels import tokens as token_level
from diptych.export.parity.levels.cases import FULL, QUICK, Case
from diptych.export.parity.levels.decoding import Decoding
from diptych.export.parity.levels.facts import compare_facts
from diptych.export.parity.levels.lockstep import Lockstep
from diptych.export.parity.levels.overflow import prove_range
from diptych.export.parity.levels.reading import Reading
from diptych.export.parity.levels.samples import sample_lines
from diptych.export.parity.levels.structure import prove_structure
from diptych.export.parity.levels.tensors import Tensors, compare_tensors, limits, numbered_probes
from diptych.export.parity.levels.texts import NEW_TOKENS, compare_texts, compare_tokenizers, open_task
from diptych.export.parity.levels.weights import module_of
from diptych.export.parity.locate import locate
from diptych.export.parity.report import UNREADABLE, PrecisionReport, PropertyReport, Report
from diptych.export.parity.sides import Engines, cached_decoder, decoder_of
from diptych.model import architecture as arch
from diptych.model.tasks import GENERATING
from diptych.runtime import ports
from diptych.runtime.bundle import file_digest
from diptych.runtime.errors import EngineError, InputError
from diptych.runtime.tasks.generate import TextGenerator

Level = Literal["quick", "full"]
_NEITHER = "PyTorch does not have it either, with these weights"
_GRIDS: dict[Level, tuple[Case, ...]] = {"quick": QUICK, "full": FULL}


class Gate:
    """Runs the levels one by one. tensors: what that level learned, which later ones need."""

    def __init__(self, compared: Compared, level: Level, announce: Callable[[str], None] = lambda stage: None) -> None:
        self.compared, self.level, self.announce = compared, level, announce
        self.bundle, self.sides = compared.bundle, compared.sides
        self.manifest = self.bundle.manifest
        self.tensors = Tensors()
        self.report = Report(
            task=self.manifest.task,
            family=self.manifest.family,
            manifest=file_digest(self.bundle.folder / ports.MANIFEST_FILE),
            reference=compared.reference,
            provider=compared.provider,
            level=level,
            multiple=MULTIPLE,
            tools=self.manifest.tools,
            precision=PrecisionReport(self.manifest.precision.name, self.manifest.precision.kept),
        )

    def run(self, lines: Sequence[str] | None = None) -> Report:
        """Every level; a quick gate proves no properties and reads no texts. lines: texts to compare on.

        What is decoded from no numbers, or too few, says nothing; then tensors are the last level.
        """
        self._timed("facts", self._facts)
        self._timed("weights", self._weights)
        self._timed("tensors", self._tensors)
        if self.level == "full":
            self._timed("properties", self._properties)
        elif not self.report.passed:
            return self.report
        if not self.tensors.comparable:
            return self.report
        if self.manifest.task in GENERATING:
            self._timed("tokens", lambda: self._tokens(lines))
        if self.level == "full" and ports.TOKENIZER_FILE in self.manifest.files:
            self._timed("text", lambda: self._text(lines))
        if self.level == "full" and self.compared.whole is not None:
            self._timed("quality", lambda: self._quality(lines))
        return self.report

    def bisect(self) -> None:
        """Find the first module at fault in the first case that failed; in a healthy graph, how errors grow in it."""
        self._timed("bisection", self._bisect)

    def _bisect(self) -> None:
        self.report.bisection = locate(self.compared, self.tensors, self.report.properties or [])

    def _timed(self, name: str, check: Callable[[], None]) -> None:
        self.announce(f"comparing {name}")
        start = time.monotonic()
        try:
            check()
        except (EngineError, ValueError, IndexError) as error:
            # What decodes numbers that are none may trip over them; in a bundle that is right so far, it is our fault.
            if self.report.passed and not isinstance(error, EngineError):
                raise
            self.report.fail(name, str(error))
        self.report.seconds[name] = time.monotonic() - start

    def _facts(self) -> None:
        found = self.report.facts = compare_facts(self.manifest, self.compared.manifest, dict(self.compared.tokenizers))
        for name, difference in found.differing.items():
            self.report.fail("facts", f"{name}: {difference}")

    def _weights(self) -> None:
        found = self.report.weights = self.compared.weights()
        for tensor, difference in found.differing.items():
            self.report.fail("weights", f"{tensor}: {difference}", module_of(tensor))

    def _tensors(self) -> None:
        sizes = limits(self.sides, self.manifest, self.compared.spec)
        self.tensors = compare_tensors(self.sides, self.manifest, self.compared.spec, sizes.place(_GRIDS[self.level]))
        found = self.report.tensors = self.tensors.report(sizes.left_out() if self.level == "full" else [])
        for problem in (*self.tensors.cannot_run, *self.tensors.unranked[:1]):
            self.report.fail("tensors", problem)
        name = self.manifest.precision.name
        rounding = "float32" if name == "fp32" else f"rounding in {name}"
        for output in found.outputs:
            if output.ratio > MULTIPLE and not self.tensors.cannot_run:
                self.report.fail(
                    "tensors",
                    f"{output.graph}: {output.output} strays {output.error:.1e} from the truth, {output.ratio:.3g} "
                    f"times what {rounding} explains, at most {MULTIPLE:g} ({output.case})",
                )
            elif output.typical is not None and output.typical > MULTIPLE:
                self.report.fail(
                    "tensors",
                    f"{output.graph}: {output.output} strays {output.typical:.3g} times what {rounding} explains, at "
                    f"half of all positions, at most {MULTIPLE:g}",
                )

    def _properties(self) -> None:
        proven = list(self._proofs(self.sides.subject))
        if self.compared.reference == "checkpoint" and not all(each.holds for each in proven):
            own = {(each.name, each.graph): each.holds for each in self._proofs(self.sides.own)}
            proven = [
                each
                if each.holds or own.get((each.name, each.graph), True)
                else replace(each, holds=True, exempt=_NEITHER)
                for each in proven
            ]
        if self.manifest.precision.name == "fp16":
            proven += [self._range(name) for name in self.bundle.graphs]
        structures = [prove_structure(self.bundle.folder / name) for name in self.bundle.graphs]
        self.report.properties = proven + structures
        for each in self.report.properties:
            if not each.holds:
                self.report.fail("properties", f"{each.graph}: no {each.name}: {each.detail}", each.module)

    def _range(self, graph: str) -> PropertyReport:
        cases = self.tensors.cases
        found = (
            probe
            for number in range(len(cases))
            for probe in numbered_probes(self.sides, self.manifest, self.compared.spec, cases, number)
            if probe.graph == graph
        )
        return prove_range(self.compared.watched(graph, "own")[0], found)

    def _proofs(self, engines: Engines) -> Iterator[PropertyReport]:
        manifest, bound = self.manifest, self.tensors.tolerance
        match self.compared.spec:
            case arch.EncoderDecoder(encoder, decoder):
                reads = Reading(engines[ports.ENCODER_FILE], ports.ENCODER_FILE, encoder, manifest, bound)
                yield from reads.prove(both_ways=True)
                yield from Decoding(decoder_of(engines), ports.DECODER_FILE, decoder, manifest, bound).prove()
            case arch.DecoderOnly(decoder) if manifest.task in GENERATING:
                yield from Decoding(decoder_of(engines), ports.MODEL_FILE, decoder, manifest, bound).prove()
            case arch.DecoderOnly(stack) | arch.EncoderOnly(stack):
                reads = Reading(engines[ports.MODEL_FILE], ports.MODEL_FILE, stack, manifest, bound)
                yield from reads.prove(both_ways=isinstance(self.compared.spec, arch.EncoderOnly))

    def _tokens(self, lines: Sequence[str] | None) -> None:
        subject, reference = decoder_of(self.sides.subject), cached_decoder(self._decoding[0])
        sources = self._sources(lines)
        found = token_level.compare_tokens(subject, reference, self.manifest, sources, self._logit_error())
        self.report.tokens = found
        whole = self.manifest.precision.name == "fp32"
        least = token_level.OWN_SHARE if whole else token_level.OWN_SHARE_REDUCED
        for problem in token_level.failures(found, least, lambda: self.own_parted(sources)):
            self.report.fail("tokens", problem)

    def own_parted(self, sources: Sequence[list[int]]) -> dict[str, int]:
        """For each search, the sources at which PyTorch parts from itself by rounding alone."""
        one, other = (cached_decoder(each) for each in self._decoding)
        return token_level.parted(one, other, self.manifest, sources)

    def _sources(self, lines: Sequence[str] | None) -> list[list[int]]:
        found = token_level.random_sources(self.manifest, continued=ports.ENCODER_FILE not in self.sides.subject)
        if self.level == "full" and ports.TOKENIZER_FILE in self.manifest.files:
            found += self._encoded(lines)
        return found

    @property
    def _decoding(self) -> tuple[Engines, Engines]:
        """The reference of searches, which rounds activations to steps if the graphs do on this machine; and the same
        but for the rounding that graphs may do in another way.
        """
        sides = self.sides
        if sides.unrounded is None or sides.precise is None:
            return sides.decoding, sides.own if sides.decoding is sides.truth else sides.truth
        if self.manifest.precision.name == "fp16":
            return sides.unrounded, sides.own
        return (sides.decoding, sides.precise) if self.tensors.rounds else (sides.unrounded, sides.truth)

    def _encoded(self, lines: Sequence[str] | None) -> list[list[int]]:
        """Those texts that the model can read and go on from."""
        task = open_task(self.bundle, self.sides.subject)
        assert isinstance(task, TextGenerator)
        found = []
        for line in lines or sample_lines(self.manifest, None):
            try:
                found.append(task.encode(line, max_new_tokens=token_level.NEW_TOKENS))
            except InputError:
                continue
        return found

    def _text(self, lines: Sequence[str] | None) -> None:
        task, reference = (open_task(self.bundle, each) for each in (self.sides.subject, self._decoding[0]))
        chosen = list(lines or sample_lines(self.manifest, getattr(task, "mask", None)))
        found = compare_tokenizers(self.bundle, self.compared.tokenizers, chosen)
        answers = compare_texts(task, reference, chosen, self._score_tolerance(), self._near)
        unreadable = sum(answer.note == UNREADABLE for answer in answers)
        self.report.text = replace(found, unreadable=unreadable, answers=answers)
        for problem in found.differing:
            self.report.fail("text", problem)
        for answer in answers:
            if not answer.same:
                self.report.fail("text", f"{answer.text!r:.80}: {answer.ours!r:.80}, expected {answer.reference!r:.80}")
        if lines is not None and lines and unreadable == len(answers):
            self.report.fail("text", f"none of the {len(lines)} texts can be read, the first because {answers[0].ours}")

    def _quality(self, lines: Sequence[str] | None) -> None:
        assert self.compared.whole is not None
        whole = self.compared.whole()
        found = self.report.quality = quality.compare_quality(self.bundle, self.sides.subject, whole, lines)
        if (problem := quality.failure(found)) is not None:
            self.report.fail("quality", problem)

    def _score_tolerance(self) -> float:
        """Scores come of outputs as far apart as the bound lets both be from the truth; a text's is a sum of many."""
        graph, output = self.bundle.graphs[-1], next(iter(self.sides.truth[self.bundle.graphs[-1]].outputs))
        scale = max((each.deviation.scale for each in self.tensors.found[graph, output]), default=1.0)
        return 2 * self.tensors.bound(graph, output) * max(scale, 1.0) * NEW_TOKENS

    def _logit_error(self) -> float:
        """The largest measured; where the graphs stray too far, what they might have been apart if they did not."""
        graph = self.bundle.graphs[-1]
        scale = max((each.deviation.scale for each in self.tensors.found[graph, ports.LOGITS]), default=1.0)
        bound = self.tensors.bound(graph, ports.LOGITS) * scale
        # A step of rounding, which few logits show, may decide between two tokens.
        return min(self.tensors.logit_error, 2 * bound) if self.sides.shaken is None else bound / MULTIPLE

    def _near(self, line: str, options: Mapping[str, Any]) -> bool:
        """Whether what both generate parts at a near-tie."""
        lockstep = Lockstep(decoder_of(self.sides.subject), cached_decoder(self._decoding[0]))
        task = open_task(self.bundle, self.sides.subject, lockstep)
        task.attempt([task.from_line(line)], **options)
        return max(lockstep.apart.values()) <= token_level.APART * self._logit_error()
