"""Models trained within seconds on made-up languages, so that what they generate is varied and ends by itself."""

from collections.abc import Callable
from typing import Any

import torch
from families.case import EOS, PAD, START
from torch import Tensor
from torch.nn import functional as F

# Ids from here on are words; those below have a meaning of their own.
FIRST, MASK = 6, 4
MODES = (4, 5)
VOCAB, LENGTH = 46, 12
IGNORED = -100

Batch = tuple[dict[str, Tensor], Tensor]


class Language:
    """Two dialects of the same words, in each of which a word has a likely successor and a less likely one.

    seed: of the successors. The last `FINAL` words end a text.
    """

    FINAL = 5

    def __init__(self, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        orders = [torch.randperm(VOCAB - FIRST, generator=random) + FIRST for _ in range(4)]
        self.successors = torch.stack(orders).view(2, 2, -1)  # By dialect and rareness.

    def follow(self, words: Tensor, dialect: Tensor, random: torch.Generator) -> Tensor:
        """The next words; the likely one three times in five."""
        rare = (torch.rand(words.shape, generator=random) < 0.4).long()
        return self.successors[dialect, rare, words - FIRST]


def dialects(rows: int, random: torch.Generator) -> Batch:
    """For a language model: the dialect's name, then words, each after another, until a final one."""
    language = Language(1)
    dialect = torch.randint(0, 2, (rows,), generator=random)
    word = torch.randint(FIRST, VOCAB, (rows,), generator=random)
    columns = [torch.tensor(MODES)[dialect], word]
    ended = torch.zeros(rows, dtype=torch.bool)
    for _ in range(LENGTH):
        final = columns[-1] >= VOCAB - Language.FINAL
        following = language.follow(columns[-1].clamp(min=FIRST), dialect, random)
        columns.append(torch.where(ended, PAD, torch.where(final, EOS, following)))
        ended |= final
    ids = torch.stack(columns, dim=1)
    labels = ids.masked_fill(ids == PAD, IGNORED)[:, 1:]
    return {"input_ids": ids[:, :-1], "attention_mask": (ids[:, :-1] != PAD).long()}, labels


def successions(rows: int, random: torch.Generator) -> Batch:
    """For an encoder-decoder: the source names a dialect and a word; as many follow that word as the source has."""
    language = Language(2)
    dialect = torch.randint(0, 2, (rows,), generator=random)
    source = torch.randint(FIRST, VOCAB, (rows, LENGTH), generator=random)
    source[:, 0] = torch.tensor(MODES)[dialect]
    target = [source[:, 1]]
    for _ in range(LENGTH):
        target.append(language.follow(target[-1], dialect, random))
    lengths = torch.randint(2, LENGTH, (rows, 1), generator=random)
    ends, padding = torch.arange(LENGTH) == lengths, torch.arange(LENGTH) > lengths
    following = torch.stack(target[1:], dim=1)
    source, words = (ids.masked_fill(ends, EOS).masked_fill(padding, PAD) for ids in (source, following))
    started = torch.cat([torch.full((rows, 1), START), words[:, :-1]], dim=1)
    inputs = {"input_ids": source, "attention_mask": (~padding).long(), "decoder_input_ids": started}
    return inputs, words.masked_fill(padding, IGNORED)


def hidden_words(rows: int, random: torch.Generator) -> Batch:
    """For an encoder: three words again and again, a fifth of them hidden."""
    ids = torch.randint(FIRST, VOCAB, (rows, 3), generator=random).repeat(1, LENGTH // 3)
    hidden = torch.rand(ids.shape, generator=random) < 0.2
    lengths = torch.randint(LENGTH // 2, LENGTH + 1, (rows, 1), generator=random)
    padding = torch.arange(LENGTH) >= lengths
    inputs = ids.masked_fill(hidden, MASK).masked_fill(padding, PAD)
    return {"input_ids": inputs, "attention_mask": (~padding).long()}, ids.masked_fill(~hidden | padding, IGNORED)


def train(model: Any, draw: Callable[[int, torch.Generator], Batch], steps: int, rate: float = 1e-2) -> float:
    """The last losses' mean."""
    random = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    model.train()
    losses = []
    for _ in range(steps):
        inputs, labels = draw(64, random)
        logits = model(**inputs, use_cache=False).logits if "decoder_input_ids" in inputs else model(**inputs).logits
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    model.eval()
    return sum(losses[-20:]) / 20
