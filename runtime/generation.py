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
    history: History,
    strategy: Strategy,
    filters: Sequence[Filter],
) -> Iterator[Choice]:
    """Decode until every source is finished; yields each step's choice. The results are in `strategy.hypotheses()`.

    history: for each source, the prompt that its rows begin with. It is run once for each source, then its rows part.
    """
    if not len(history.ids):
        return
    state = decoder.start(sources, rows_per_source=1)
    logits = decoder.step(state, history.ids)
    rows = np.arange(len(history.ids)).repeat(strategy.rows_per_source)
    decoder.select(state, rows)
    history, logits = history.select(rows), logits[rows]
    while True:
        scores = strategy.scores(logits)
        for apply in filters:
            apply(history, scores)
        choice = strategy.choose(history, scores)
        history = history.extended(choice.rows, choice.tokens)
        yield choice
        if not len(choice.rows):
            return
        decoder.select(state, choice.rows)
        logits = decoder.step(state, np.ascontiguousarray(history.ids[:, -1:]))
