"""The likeliest ways to go on from where a source is, each to be continued by itself (as CTranslate2 does)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import exp
from typing import TypeVar

import numpy as np

from diptych.runtime.decoder import Decoder, Sources
from diptych.runtime.generation.filters import Filter, Forbid
from diptych.runtime.generation.history import History
from diptych.runtime.generation.loop import look
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.generation.requests import Request
from diptych.runtime.generation.scores import log_softmax
from diptych.runtime.graph import Array
from diptych.runtime.ranked import top

StateT = TypeVar("StateT")


def alternatives(
    decoder: Decoder[StateT],
    request: Request,
    options: GenerationOptions,
    eos: Sequence[int],
    filters: Sequence[Filter],
    pad_id: int,
) -> Iterator[tuple[Request, Array | None]]:
    """Requests that each begin with one of the likeliest next tokens, the likeliest first; all have the same number.

    With each, what its token looked at [1, S], if asked for. The end is no alternative; where nothing else may come,
    the request goes on as it is. Tokens less probable than `min_alternative_expansion_prob` are left out, except the
    likeliest.
    """
    history = History.start([request.prompt], [request.limit], [request.source])
    state = decoder.start(
        Sources.pad([list(request.source)], pad_id), rows_per_source=1, attend=options.needs_attention
    )
    scores = decoder.step(state, history.ids).astype(np.float32)
    looked = look(decoder, state, options.attention_layer if options.needs_attention else None)
    every: Sequence[Filter] = [*filters, Forbid(eos)]
    for apply in every:
        apply(history, scores)
    values, tokens = top(log_softmax(scores), options.alternatives or 1)
    for place, (value, token) in enumerate(zip(values[0].tolist(), tokens[0].tolist(), strict=True)):
        if value == -np.inf:
            break
        if place == 0 or exp(value) >= options.min_alternative_expansion_prob:
            yield replace(request, begun=[(token, value)]), looked
