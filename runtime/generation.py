"""The generation loop: step, filter, choose, select."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

from diptych.runtime.decoder import Decoder, Sources
from diptych.runtime.filters import Filter
from diptych.runtime.history import History
from diptych.runtime.strategies import Choice, Strategy

StateT = TypeVar("StateT")


def generate(
    decoder: Decoder[StateT],
    sources: Sources,
    prompt: list[int],
    strategy: Strategy,
    filters: Sequence[Filter],
) -> Iterator[Choice]:
    """Decode until every source is finished; yields each step's choice. The results are in `strategy.hypotheses()`."""
    state = decoder.start(sources, strategy.rows_per_source)
    history = History.start(prompt, len(sources.ids) * strategy.rows_per_source)
    new = history.ids
    while len(new):
        scores = strategy.scores(decoder.step(state, new))
        for apply in filters:
            apply(history, scores)
        choice = strategy.choose(history, scores)
        decoder.select(state, choice.rows)
        history = history.extended(choice.rows, choice.tokens)
        new = np.ascontiguousarray(history.ids[:, -1:])
        yield choice
