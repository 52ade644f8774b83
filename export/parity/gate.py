"""The gate: all levels over one bundle, each in its own words in one report."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tokenizers import Tokenizer

from diptych.export.parity.as_portable import AsPortable
from diptych.export.parity.bisection.bisect import bisect
from diptych.export.parity.bisection.points import OnnxWatched, Watched
from diptych.export.parity.bisection.tuned import one_token
from diptych.export.parity.bounds import MULTIPLE
from diptych.export.parity.levels import tokens as token_level
from diptych.export.parity.levels.cases import FULL, QUICK, Case
from diptych.export.parity.levels.decoding import Decoding
from diptych.export.parity.levels.facts import compare_facts
from diptych.export.parity.levels.reading import Reading
from diptych.export.parity.levels.samples import sample_lines
from diptych.export.parity.levels.structure import prove_structure
from diptych.export.parity.levels.tensors import Tensors, compare_tensors, limits, numbered_probes
from diptych.export.parity.levels.texts import NEW_TOKENS, compare_texts, compare_tokenizers, open_task
from diptych.export.parity.levels.weights import module_of
from diptych.export.parity.report import UNREADABLE, PropertyReport, Report, WeightsReport
from diptych.export.parity.sides import Engines, Sides, cached_decoder, decoder_of
from diptych.model import architecture as arch
from diptych.model.tasks import GENERATING
from diptych.runtime import ports
from diptych.runtime.bundle import Bundle, file_digest
from diptych.runtime.errors import EngineError, InputError
from diptych.runtime.generation.steps import Hypothesis
from diptych.runtime.manifest import Manifest
from diptych.runtime.tasks.generate import TextGenerator
from diptych.runtime.tasks.generated import GeneratedText

Level = Literal["quick", "full"]
_NEITHER = "PyTorch does not have it either, with these weights"
_GRIDS: dict[Level, tuple[Case, ...]] = {"quick": QUICK, "full": FULL}


@dataclass(frozen=True)
class Compared:
    """A bundle, and what it is held against.

    manifest: what the bundle's should say of using it. weights: compares those, when called. tokenizers: for each
    tokenizer file of the bundle, what it should be. watched: for a graph's file, its subject, truth and own engine with
    a view of what lies between modules.
    """

    bundle: Bundle
    sides: Sides
    spec: arch.Architecture
    reference: Literal["checkpoint", "bundle"]
    provider: str
    manifest: Manifest
    weights: Callable[[], WeightsReport]
    watched: Callable[[str], tuple[OnnxWatched, Watched, Watched]]
    tokenizers: Sequence[tuple[str, Tokenizer]] = ()


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
        return self.report

    def bisect(self) -> None:
        """Find the first module at fault in the first case that failed; in a healthy graph, how errors grow in it."""
        self._timed("bisection", self._bisect)

    def _bisect(self) -> None:
        failing = self.tensors.first_failure()
        graph, number = failing or (self.bundle.graphs[-1], len(self.tensors.cases) - 1)
        found = numbered_probes(self.sides, self.manifest, self.compared.spec, self.tensors.cases, number)
        probe = next(probe for probe in found if probe.graph == graph)
        tuned = isinstance(self.sides.subject[graph], AsPortable)
        if tuned:
            probe = one_token(probe, *(side[graph] for side in (self.sides.subject, self.sides.truth, self.sides.own)))
        subject, reference, own = self.compared.watched(probe.graph)
        found = bisect(subject, reference, own, probe.feeds, graph=probe.graph, case=probe.case)
        if tuned and found.module is None and failing:
            found = replace(found, module=graph, note="; ".join([self._aside(graph), found.note]))
        self.report.bisection = found

    def _aside(self, graph: str) -> str:
        """What is wrong with a tuned graph in which all is right that a portable one has."""
        if self.tensors.unranked:
            return self.tensors.unranked[0]
        wrong = {each.output for each in self.tensors.outputs if each.graph == graph and each.ratio > MULTIPLE}
        if wrong <= {ports.LOG_SUM_EXP}:
            return f"{ports.LOG_SUM_EXP} is not that of the logits"
        return "each token by itself is right, several at once are not"

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
        for output in found.outputs:
            if output.ratio > MULTIPLE and not self.tensors.cannot_run:
                self.report.fail(
                    "tensors",
                    f"{output.graph}: {output.output} strays {output.error:.1e} from the truth, {output.ratio:.3g} "
                    f"times what float32 explains, at most {MULTIPLE:g} ({output.case})",
                )

    def _properties(self) -> None:
        proven = list(self._proofs(self.sides.subject))
        if self.compared.reference == "checkpoint" and not all(each.holds for each in proven):
            own = {(each.name, each.graph): each.holds for each in self._proofs(self.sides.own)}
            proven = [
                each if each.holds or own.get((each.name, each.graph), True) else replace(each, holds=True, exempt=_NEITHER)
                for each in proven
            ]
        structures = [prove_structure(self.bundle.folder / name) for name in self.bundle.graphs]
        self.report.properties = proven + structures
        for each in self.report.properties:
            if not each.holds:
                self.report.fail("properties", f"{each.graph}: no {each.name}: {each.detail}")

    def _proofs(self, engines: Engines) -> Iterator[PropertyReport]:
        manifest, bound = self.manifest, self.tensors.bound
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
        subject, reference = decoder_of(self.sides.subject), cached_decoder(self.sides.decoding)
        sources = token_level.random_sources(self.manifest, continued=subject.encoder is None)
        if self.level == "full" and ports.TOKENIZER_FILE in self.manifest.files:
            sources += self._encoded(lines)
        found = token_level.compare_tokens(subject, reference, self.manifest, sources, self._logit_error())
        self.report.tokens = found
        for problem in token_level.failures(found):
            self.report.fail("tokens", problem)

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
        task, reference = (open_task(self.bundle, each) for each in (self.sides.subject, self.sides.decoding))
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

    def _score_tolerance(self) -> float:
        """Scores come of outputs as far apart as the bound lets both be from the truth; a text's is a sum of many."""
        graph, output = self.bundle.graphs[-1], next(iter(self.sides.truth[self.bundle.graphs[-1]].outputs))
        scale = max((each.deviation.scale for each in self.tensors.found[graph, output]), default=1.0)
        return 2 * self.tensors.bound(graph, output) * max(scale, 1.0) * NEW_TOKENS

    def _logit_error(self) -> float:
        """The largest measured; where the graphs stray too far, what they might have been apart if they did not."""
        graph = self.bundle.graphs[-1]
        scale = max((each.deviation.scale for each in self.tensors.found[graph, ports.LOGITS]), default=1.0)
        return min(self.tensors.logit_error, 2 * self.tensors.bound(graph, ports.LOGITS) * scale)

    def _near(self, line: str, found: list[GeneratedText], expected: list[GeneratedText]) -> bool:
        """Whether what both generated parts at a near-tie."""
        task = open_task(self.bundle, self.sides.subject)
        assert isinstance(task, TextGenerator)
        ours, theirs = ([Hypothesis(each.ids, each.score) for each in side] for side in (found, expected))
        decoder, bound = cached_decoder(self.sides.decoding), 4 * self._logit_error()
        beams, source = task.generator.defaults.num_beams, task.encode(line)
        apart = token_level.difference("text", 0, ours, theirs, beams, decoder, source, self.manifest, bound)
        return apart is not None and apart.kind == "near-tie"
