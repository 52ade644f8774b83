"""Do the graphs compute what PyTorch computes? Tensors on shapes never traced, then tokens through the same loop."""

import sys
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np

from diptych.export.errors import ParityError
from diptych.runtime import ports
from diptych.runtime.decoder import CachedDecoder, Sources
from diptych.runtime.generator import Generator
from diptych.runtime.graph import Array, Graph
from diptych.runtime.history import PADDING
from diptych.runtime.manifest import Manifest
from diptych.runtime.strategies import Hypothesis

# Of an output's largest value, in float32. Healthy exports stay two orders of magnitude below.
TOLERANCE = 1e-4
NEW_TOKENS = 12
# At most so many of the decoded sources may be near-ties: one of 102.
NEAR_TIES = 0.01
SOURCE_LENGTHS = (1, *(2 + index % 29 for index in range(101)))
_SEED = 20170612


@dataclass(frozen=True)
class Case:
    """One combination of sizes: sources, source length, rows per source, cached tokens, new tokens; ragged or full."""

    sources: int
    source_length: int
    rows_per_source: int
    past: int
    new: int
    ragged: bool

    def __str__(self) -> str:
        raggedness = "ragged" if self.ragged else "full"
        return (
            f"{self.sources} sources of {self.source_length} ({raggedness}), {self.rows_per_source} rows each, "
            f"past {self.past}, {self.new} new"
        )


CASES = (
    Case(1, 1, 1, 0, 1, ragged=False),
    Case(1, 1, 4, 3, 1, ragged=False),
    Case(1, 13, 1, 0, 6, ragged=False),
    Case(3, 9, 1, 0, 1, ragged=True),
    Case(3, 9, 4, 5, 1, ragged=True),
    Case(3, 9, 4, 1, 3, ragged=True),
    Case(2, 31, 1, 17, 5, ragged=True),
)

# Texts, their length, and where they are padded.
TEXT_CASES = (
    (1, 1, "full"),
    (1, 13, "full"),
    (3, 9, "right"),
    (3, 9, "left"),
    (5, 31, "right"),
    (2, 128, "right"),
)


@dataclass
class ParityReport:
    """errors: the worst relative error of each output and the case it came from. logit_error: the worst absolute one.

    tokens: how many sources each search decoded identically, with a near-tie, or wrongly.
    """

    tolerance: float = TOLERANCE
    logit_error: float = 0.0
    errors: dict[str, tuple[float, str]] = field(default_factory=dict)
    tokens: dict[str, dict[str, int]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.failures

    @property
    def worst(self) -> float:
        return max(error for error, _ in self.errors.values())

    def record(self, output: str, case: Case | str, ours: Array, reference: Array) -> None:
        """Keep the relative error max|a - b| / max|b|; a NaN or another shape is a failure of its own."""
        error = relative_error(ours, reference)
        if output == ports.LOGITS and np.isfinite(error):
            self.logit_error = max(self.logit_error, float(np.abs(ours - reference).max(initial=0.0)))
        if not error <= self.errors.get(output, (-1.0, ""))[0]:
            self.errors[output] = error, str(case)
        if not error <= self.tolerance:
            self.failures.append(f"{output}: relative error {error:.1e}, at most {self.tolerance:.0e} ({case})")

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"passed": self.passed}

    def raise_if_failed(self) -> None:
        if self.failures:
            listing = "\n".join(f"  {failure}" for failure in self.failures[:10])
            more = f"\n  and {len(self.failures) - 10} more" if len(self.failures) > 10 else ""
            raise ParityError(f"the graphs do not compute what PyTorch computes:\n{listing}{more}")


def check_parity(torch_decoder: CachedDecoder, onnx_decoder: CachedDecoder, manifest: Manifest) -> ParityReport:
    """Compare two decoders of one model, tensor by tensor and then, if these agree, token by token."""
    report = ParityReport()
    random = np.random.default_rng(_SEED)
    source_positions = manifest.source_positions or sys.maxsize
    target_positions = manifest.target_positions or sys.maxsize
    for case in CASES:
        if case.source_length <= source_positions and case.past + case.new <= target_positions:
            _compare_tensors(report, case, torch_decoder, onnx_decoder, manifest, random)
    if report.failures:
        return report
    for name, options in (
        ("greedy", {"num_beams": 1, "num_return_sequences": 1}),
        ("beam 4", {"num_beams": 4, "num_return_sequences": 2}),
    ):
        _compare_tokens(report, name, options, torch_decoder, onnx_decoder, manifest, random)
    return report


def check_text_parity(torch_graph: Graph, onnx_graph: Graph, manifest: Manifest) -> ParityReport:
    """Compare two graphs that read whole texts, padded on the right and on the left."""
    report = ParityReport()
    random = np.random.default_rng(_SEED)
    for texts, length, padding in TEXT_CASES:
        if length > (manifest.source_positions or sys.maxsize):
            continue
        mask = np.ones((texts, length), dtype=np.int64)
        if padding != "full":
            mask[_left_padding(texts, length)] = 0
            mask = mask if padding == "left" else np.ascontiguousarray(mask[:, ::-1])
        ids = np.where(mask, random.integers(0, manifest.source_vocabulary, mask.shape), manifest.tokens.pad)
        feeds = {ports.INPUT_IDS: ids, ports.ATTENTION_MASK: mask, ports.TOKEN_TYPE_IDS: _second_half(mask)}
        feeds = {name: feeds[name] for name in torch_graph.inputs}
        ours, reference = onnx_graph.run(feeds), torch_graph.run(feeds)
        for name, values in reference.items():
            case = f"{texts} texts of {length} ({padding})"
            by_token = ports.SEQUENCE_LENGTH in torch_graph.outputs[name]
            seen = mask != 0 if by_token else np.ones(texts, dtype=bool)
            report.record(name, case, ours[name][seen], values[seen])
    return report


def _second_half(mask: Array) -> Array:
    """Token types of a pair of texts."""
    return np.asarray((np.arange(mask.shape[1]) >= mask.shape[1] // 2) * mask)


def relative_error(ours: Array, reference: Array) -> float:
    """max|a - b| / max|b|; infinite where a shape differs or a value is not finite."""
    if ours.shape != reference.shape or not np.isfinite(ours).all():
        return float("inf")
    scale = np.abs(reference).max(initial=0.0)
    return float(np.abs(ours - reference).max(initial=0.0) / max(scale, np.finfo(np.float32).tiny))


def _compare_tensors(
    report: ParityReport,
    case: Case,
    torch_decoder: CachedDecoder,
    onnx_decoder: CachedDecoder,
    manifest: Manifest,
    random: np.random.Generator,
) -> None:
    vocab_size = int(torch_decoder.decoder.outputs[ports.LOGITS][-1])
    sources = _random_sources(case, manifest.source_vocabulary, random)
    if onnx_decoder.encoder is not None and torch_decoder.encoder is not None:
        feeds = {ports.INPUT_IDS: sources.ids, ports.ATTENTION_MASK: sources.mask}
        encoded = onnx_decoder.encoder.run(feeds), torch_decoder.encoder.run(feeds)
        for name in encoded[1]:
            ours, reference = (_unpadded(outputs[name], sources.mask) for outputs in encoded)
            report.record(name, case, ours, reference)
    rows = case.sources * case.rows_per_source
    states = onnx_decoder.start(sources, case.rows_per_source), torch_decoder.start(sources, case.rows_per_source)
    for length in filter(None, (case.past, case.new)):
        ids = random.integers(0, vocab_size, (rows, length))
        if case.ragged and not states[0].mask.shape[1]:
            ids[_left_padding(rows, length)] = PADDING
        logits = onnx_decoder.forward(states[0], ids), torch_decoder.forward(states[1], ids)
        report.record(ports.LOGITS, case, logits[0][ids >= 0], logits[1][ids >= 0])
        for name in torch_decoder.past_names:
            ours, reference = (_unpadded(state.past[name], state.mask) for state in states)
            report.record(ports.present_name(name), case, ours, reference)


def _compare_tokens(
    report: ParityReport,
    name: str,
    options: dict[str, int],
    torch_decoder: CachedDecoder,
    onnx_decoder: CachedDecoder,
    manifest: Manifest,
    random: np.random.Generator,
) -> None:
    """The same texts through the same loop; a difference within four logit errors is a near-tie."""
    engines = Generator(onnx_decoder, manifest), Generator(torch_decoder, manifest)
    longest = manifest.source_positions or sys.maxsize
    limit = min(NEW_TOKENS, manifest.target_positions - 1) if manifest.target_positions else NEW_TOKENS
    if torch_decoder.encoder is None:
        longest = max(1, longest - limit)
    lengths = [min(length, longest) for length in SOURCE_LENGTHS]
    ending = [token for token in manifest.tokens.eos[:1] if token < manifest.source_vocabulary] or [0]
    sources = [random.integers(0, manifest.source_vocabulary, length - 1).tolist() + ending for length in lengths]
    ours, reference = (engine(sources, max_new_tokens=limit, **options) for engine in engines)
    counts = {"identical": 0, "near-ties": 0, "faults": 0}
    for index, (one, other) in enumerate(zip(ours, reference, strict=True)):
        kind, explanation = _classify(one, other, torch_decoder, sources[index], manifest, 4 * report.logit_error)
        counts[kind] += 1
        if kind == "faults":
            report.failures.append(f"{name}, source {index}: {explanation}")
    report.tokens[name] = counts
    if counts["near-ties"] > NEAR_TIES * len(sources):
        report.failures.append(f"{name}: {counts['near-ties']} near-ties in {len(sources)} sources, at most 1 %")


def _classify(
    ours: list[Hypothesis],
    reference: list[Hypothesis],
    decoder: CachedDecoder,
    source: list[int],
    manifest: Manifest,
    bound: float,
) -> tuple[str, str]:
    """Beams stand apart by their scores; greedy's two candidates by PyTorch's logits where they part."""
    kind, explanation = "identical", ""
    for one, other in zip(ours, reference, strict=True):
        if one.ids == other.ids:
            continue
        place = next(i for i, (a, b) in enumerate(zip_longest(one.ids, other.ids)) if a != b)
        candidates = [*one.ids[place : place + 1], *other.ids[place : place + 1]]
        margin = abs(one.score - other.score)
        if len(ours) == 1:
            margin = _margin(decoder, source, one.ids[:place], candidates, manifest)
        explanation = f"token {place} is {candidates[0]}, PyTorch's is {candidates[-1]}, {margin:.1e} apart"
        if margin >= bound:
            return "faults", explanation
        kind = "near-ties"
    return kind, explanation


def _margin(
    decoder: CachedDecoder, source: list[int], prefix: list[int], candidates: list[int], manifest: Manifest
) -> float:
    """How far apart PyTorch's logits of the candidates are after this prefix."""
    prompt = source if decoder.encoder is None else [manifest.tokens.decoder_start]
    encoded = [] if decoder.encoder is None else source
    state = decoder.start(Sources.pad([encoded], manifest.tokens.pad), rows_per_source=1)
    logits = decoder.step(state, np.array([[*prompt, *prefix]]))[0, candidates]
    return float(np.ptp(logits)) if len(candidates) == 2 else float("inf")


def _random_sources(case: Case, vocab_size: int, random: np.random.Generator) -> Sources:
    ids = random.integers(0, vocab_size, (case.sources, case.source_length))
    mask = np.ones_like(ids)
    if case.ragged:
        for row in range(1, case.sources):
            mask[row, random.integers(1, case.source_length) :] = 0
    return Sources(ids, mask)


def _left_padding(rows: int, length: int) -> Array:
    """Row r lacks its first r tokens, cyclically; every row keeps at least its last."""
    return np.asarray(np.arange(length) < (np.arange(rows) % length)[:, None])


def _unpadded(values: Array, mask: Array) -> Array:
    """The positions that hold tokens: of [B, S, width] the second axis, of [B, H, S, D] the third."""
    if values.ndim == 4:
        values = values.transpose(0, 2, 1, 3)
    return values[mask != 0]
