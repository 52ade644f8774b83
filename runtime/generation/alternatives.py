"""The likeliest ways to go on from where a source is, each to be continued by itself (as CTranslate2 does)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import exp
from typing import TypeVar

import numpy as np

from diptych.runtime.decoder import Decoder, Sources
from diptych.runtime.generation.filters import Filter, forbid
from diptych.runtime.generation.history import History
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.generation.requests import Request
from diptych.runtime.generation.scores import log_softmax, top

StateT = TypeVar("StateT")


def alternatives(
    decoder: Decoder[StateT],
    request: Request,
    options: GenerationOptions,
    eos: Sequence[int],
    filters: Sequence[Filter],
    pad_id: int,
) -> Iterator[Request]:
    """Requests that each begin with one of the likeliest next tokens, the likeliest first; all have the same number.

    The end is no alternative. Tokens less probable than `min_alternative_expansion_prob` are left out.
    """
    history = History.start([request.prompt], [request.limit], [request.source])
    state = decoder.start(Sources.pad([list(request.source)], pad_id), rows_per_source=1)
    scores = decoder.step(state, history.ids).astype(np.float32)
    for apply in [*filters, forbid(eos)]:
        apply(history, scores)
    values, tokens = top(log_softmax(scores), options.alternatives or 1)
    for value, token in zip(values[0].tolist(), tokens[0].tolist(), strict=True):
        if value > -np.inf and exp(value) >= options.min_alternative_expansion_prob:
            yield replace(request, begun=[(token, value)])
