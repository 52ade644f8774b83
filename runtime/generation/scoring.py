"""How likely given targets are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from diptych.runtime.batches import of_like_length
from diptych.runtime.decoder import Decoder, Sources
from diptych.runtime.generation.requests import Request
from diptych.runtime.generation.scores import log_softmax
from diptych.runtime.memory_limit import MemoryLimit, Sizes
from diptych.runtime.ranked import check

StateT = TypeVar("StateT")
# Most numbers of logits that one run puts out, 128 MiB of them: long targets are read in pieces.
_MOST_LOGITS = 1 << 25


@dataclass(frozen=True)
class Scored:
    """token_scores: the log-probability of each of the target's tokens, in order; score: their sum."""

    token_scores: list[float]

    @property
    def score(self) -> float:
        return float(sum(self.token_scores))


def score_targets(
    decoder: Decoder[StateT],
    requests: Sequence[Request],
    vocab_size: int,
    pad_id: int,
    *,
    batch_size: int,
    batch_tokens: int,
    memory: MemoryLimit | None = None,
) -> list[Scored]:
    """Of requests whose targets are `begun`, what the model says of each token after all before it.

    memory: what batches fit in.
    """

    def fits(texts: int, tokens: int) -> bool:
        return memory is None or memory.fits(Sizes(texts, tokens, tokens, tokens))

    results: list[Scored] = [Scored([]) for _ in requests]
    for batch in of_like_length([request.length for request in requests], batch_size, batch_tokens, fits):
        members = [requests[index] for index in batch]
        longest = members[-1].length
        most = _MOST_LOGITS // (len(batch) * vocab_size)
        if memory is not None:
            most = min(most, memory.positions(Sizes(len(batch), longest, longest, longest)))
        for index, scored in zip(batch, _score(decoder, members, max(1, most), pad_id), strict=True):
            results[index] = scored
    return results


def _score(decoder: Decoder[StateT], requests: Sequence[Request], piece: int, pad_id: int) -> list[Scored]:
    """Rows end together, so that the padding of shorter ones comes first; of each only its target's tokens count.

    piece: so many tokens of each row are read at a time.
    """
    rows = [[*request.prompt, *(token for token, _ in request.begun)] for request in requests]
    longest = max(map(len, rows))
    ids = np.array([[-1] * (longest - len(row)) + row for row in rows], dtype=np.int64)
    state = decoder.start(Sources.pad([list(request.source) for request in requests], pad_id), rows_per_source=1)
    found = []
    for start in range(0, longest - 1, piece):
        fed = np.ascontiguousarray(ids[:, start : min(start + piece, longest - 1)])
        scores = log_softmax(decoder.forward(state, fed).astype(np.float32, copy=False))
        following = np.maximum(ids[:, start + 1 : start + 1 + fed.shape[1]], 0)
        found.append(np.take_along_axis(scores, following[:, :, None], axis=2)[:, :, 0])
    every = np.concatenate(found, axis=1)
    of_targets = [own[len(own) - len(request.begun) :] for own, request in zip(every, requests, strict=True)]
    for own in of_targets:
        check(own)
    return [Scored(own.tolist()) for own in of_targets]
