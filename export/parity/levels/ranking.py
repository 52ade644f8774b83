"""Whether a graph that tells the best of its logits itself tells what the runtime would find in them."""

from collections.abc import Iterator

import numpy as np
import torch

from diptych.export.parity.bounds import Deviation
from diptych.export.ranking import rank
from diptych.runtime import ports
from diptych.runtime.graph import Array
from diptych.runtime.ranked import Ranked, ranked

# How many are asked for, case by case: searches want one, two for each beam, or as many as there may be.
COUNTS = (1, 8, ports.MOST_TOP_LOGITS, 2)


def problems(found: Ranked, count: int) -> Iterator[str]:
    """found: with the logits of all tokens asked for. The best of them must be these to the last bit."""
    expected = ranked(found.asked, count, np.arange(0))
    for name, ours, theirs in (
        (ports.TOP_IDS, found.tokens, expected.tokens),
        (ports.TOP_LOGITS, found.logits, expected.logits),
    ):
        if ours.shape != theirs.shape:
            yield f"{name} are {list(ours.shape)}, expected {list(theirs.shape)}"
        elif (wrong := (ours != theirs).any(axis=1)).any():
            row = int(np.argmax(wrong))
            yield f"{name} of row {row} are {_listed(ours[row])}, expected {_listed(theirs[row])}"


def log_sum(found: Ranked) -> Deviation:
    """The logarithm of the sum of the exponentials of all logits, against float64's of the same logits.

    Its own error is what PyTorch's float32 makes of them; a logarithm near 0 is as exact as one of 1.
    """
    logits = torch.from_numpy(np.ascontiguousarray(found.asked))
    one = torch.tensor(1)
    truth = rank(logits.double(), one)[2].numpy()
    each = Deviation.of(found.log_sum.reshape(truth.shape), rank(logits, one)[2].numpy(), truth)
    return Deviation(each.error, each.own, max(each.scale, 1.0))


def _listed(values: Array) -> str:
    return ", ".join(map(str, values[:4].tolist())) + (", …" if len(values) > 4 else "")
