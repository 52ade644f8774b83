"""What graphs are run on to see what fewer bits cost: texts, and what the float32 graphs say of them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.export.errors import ExportError
from diptych.export.parity.levels.samples import sample_lines
from diptych.export.parity.levels.texts import open_task
from diptych.export.parity.levels.tokens import PLAIN
from diptych.model.tasks import GENERATING
from diptych.runtime import ports
from diptych.runtime.bundle import Bundle
from diptych.runtime.decoder import CachedDecoder, Sources
from diptych.runtime.errors import InputError
from diptych.runtime.generation.generator import Generator
from diptych.runtime.graph import Array, Arrays, Graph, Shape
from diptych.runtime.tasks.generate import TextGenerator

Engines = Mapping[str, Graph]

NEW_TOKENS = 32
_RANDOM_LENGTHS = (1, 2, 3, 5, 8, 13, 21, 31)
_SEED = 43


@dataclass(frozen=True)
class Example:
    """What the graphs are given; the first of them reads `feeds` if there is no row.

    source: of an encoder. row: what the decoder is told, all but the last of which is fed. given: whether its tokens
    were not the model's own, so that they say how well it predicts.
    """

    source: Sequence[int] = ()
    row: Sequence[int] = ()
    given: bool = False
    feeds: Arrays | None = None

    def answers(self, engines: Engines) -> dict[str, Array]:
        """By name of the output: [positions, classes], float32."""
        if self.feeds is not None:
            found = engines[ports.MODEL_FILE].run(self.feeds)
            return {name: value.astype(np.float32).reshape(-1, value.shape[-1]) for name, value in found.items()}
        logits = _decode(engines, self.source, self.row[:-1])
        return {ports.LOGITS: logits[0].astype(np.float32)}


def _decode(engines: Engines, source: Sequence[int], row: Sequence[int]) -> Array:
    decoder = decoder_of(engines)
    state = decoder.start(Sources.pad([list(source)], 0), rows_per_source=1)
    return decoder.forward(state, np.array([row], dtype=np.int64))


def decoder_of(engines: Engines) -> CachedDecoder:
    if ports.MODEL_FILE in engines:
        return CachedDecoder(None, engines[ports.MODEL_FILE])
    return CachedDecoder(engines[ports.ENCODER_FILE], engines[ports.DECODER_FILE])


def examples(bundle: Bundle, engines: Engines, lines: Sequence[str] | None) -> list[Example]:
    """Of texts that come along, or of lines as `diptych run` reads them, each with a tab and the expected text, or not.

    bundle, engines: of the float32 graphs. Raises ExportError if none of the lines can be read.
    """
    if ports.TOKENIZER_FILE not in bundle.manifest.files:
        if lines is not None:
            raise ExportError("texts are given, but the checkpoint has no tokenizer to read them")
        return _of_random_ids(bundle, engines)
    problems: list[str] = []
    generating = bundle.manifest.task in GENERATING
    found = list((_of_texts if generating else _of_reading)(bundle, engines, lines, problems))
    if not found and lines is not None:
        raise ExportError(f"none of the {len(lines)} texts can be read; the first: {(problems or ['empty'])[0]}")
    return found or _of_random_ids(bundle, engines)


def _of_texts(bundle: Bundle, engines: Engines, lines: Sequence[str] | None, problems: list[str]) -> Iterator[Example]:
    """What follows a text is greedily generated, unless it is given."""
    task = open_task(bundle, engines)
    assert isinstance(task, TextGenerator)
    sources = []
    for line in lines or sample_lines(bundle.manifest, None):
        text, _, expected = line.partition("\t")
        try:
            if expected:
                request = task.target(text, expected)
                yield Example(request.source, [*request.prompt, *(token for token, _ in request.begun)], given=True)
            else:
                sources.append(task.encode(text, max_new_tokens=_new_tokens(bundle)))
        except InputError as error:
            problems.append(str(error))
    languages = task.languages
    yield from _generated(bundle, task.generator, sources, {} if languages is None else languages.options(None, True))


def _generated(
    bundle: Bundle, generator: Generator, sources: Sequence[Sequence[int]], options: dict[str, Any]
) -> Iterator[Example]:
    """A model that continues texts predicts those, too."""
    plain = {"num_beams": 1, "num_return_sequences": 1, "max_new_tokens": _new_tokens(bundle)}
    plan = generator.plan(**PLAIN | plain | options)
    requests = [plan.request(number, source) for number, source in enumerate(sources)]
    found = generator.run(plan, requests, batch_size=8, batch_tokens=4096)
    for request in requests:
        row = [*request.prompt, *found[request.number][0].ids]
        if len(row) > 1:
            yield Example(request.source, row, given=not plan.encodes)


def _of_reading(
    bundle: Bundle, engines: Engines, lines: Sequence[str] | None, problems: list[str]
) -> Iterator[Example]:
    """Whatever the task feeds its graph with for each line."""
    recorder = Recorder(engines[ports.MODEL_FILE])
    task = open_task(bundle, {ports.MODEL_FILE: recorder})
    for line in lines or sample_lines(bundle.manifest, getattr(task, "mask", None)):
        try:
            (result,) = task.attempt([task.from_line(line)])
            if isinstance(result, InputError):
                raise result
        except InputError as error:
            problems.append(str(error))
    for feeds in recorder.fed:
        yield Example(feeds=feeds)


def _of_random_ids(bundle: Bundle, engines: Engines) -> list[Example]:
    manifest, random = bundle.manifest, np.random.default_rng(_SEED)
    longest = manifest.source_positions or max(_RANDOM_LENGTHS)
    generating = manifest.task in GENERATING
    if generating and ports.MODEL_FILE in engines:
        longest = max(1, longest - NEW_TOKENS)
    sources = [
        random.integers(0, manifest.source_vocabulary, min(length, longest)).tolist() for length in _RANDOM_LENGTHS
    ]
    if generating:
        return list(_generated(bundle, Generator(decoder_of(engines), manifest), sources, {}))
    names = engines[ports.MODEL_FILE].inputs
    found = []
    for source in sources:
        ids = np.array([source], dtype=np.int64)
        feeds = {
            ports.INPUT_IDS: ids,
            ports.ATTENTION_MASK: np.ones_like(ids),
            ports.TOKEN_TYPE_IDS: np.zeros_like(ids),
        }
        found.append(Example(feeds={name: feeds[name] for name in names}))
    return found


def _new_tokens(bundle: Bundle) -> int:
    positions = bundle.manifest.target_positions
    return NEW_TOKENS if positions is None else max(1, min(NEW_TOKENS, positions - 1))


class Recorder:
    """A graph, and what it was fed."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.inputs: Mapping[str, Shape] = graph.inputs
        self.outputs: Mapping[str, Shape] = graph.outputs
        self.dtypes = graph.dtypes
        self.fed: list[Arrays] = []

    def run(self, feeds: Arrays, outputs: Collection[str] | None = None) -> dict[str, Array]:
        self.fed.append(dict(feeds))
        return self._graph.run(feeds, outputs)
