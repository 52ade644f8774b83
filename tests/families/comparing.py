"""The same batches to both twins: full ones, and ragged ones padded on either side."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from families.case import EOS, PAD
from families.twins import Engine, Twins
from torch import Tensor

from diptych.export.defaults import source_side
from diptych.model import architecture as arch
from diptych.runtime import ports
from diptych.runtime.decoder import Sources
from diptych.runtime.graph import Array

Side = Literal["none", "right", "left"]
CHUNKS = ((0, 3), (3, 4), (4, None))
SHAPES: list[tuple[int, int, Side]] = [
    (1, 1, "none"),
    (1, 9, "none"),
    (3, 9, "right"),
    (3, 9, "left"),
    (3, 31, "right"),
]


@dataclass(frozen=True)
class Batch:
    """ids and mask [B, S]; the second row has two tokens less than the first, and so on."""

    ids: Tensor
    mask: Tensor

    @staticmethod
    def draw(rows: int, length: int, side: Side, vocab_size: int, seed: int = 0) -> "Batch":
        random = torch.Generator().manual_seed(seed)
        ids = torch.randint(EOS + 1, vocab_size, (rows, length), generator=random)
        lengths = length - 2 * torch.arange(rows)[:, None] * (side != "none")
        places = torch.arange(length) if side != "left" else torch.arange(length).flip(0)
        mask = (places < lengths).long()
        return Batch(ids.masked_fill(mask == 0, PAD), mask)

    @property
    def rows(self) -> list[list[int]]:
        """Without padding."""
        return [ids[mask != 0].tolist() for ids, mask in zip(self.ids, self.mask, strict=True)]

    @property
    def positions(self) -> Tensor:
        return (self.mask.cumsum(1) - 1).clamp(min=0)


Outputs = dict[str, tuple[Array, Array]]


def outputs(twins: Twins, engine: Engine, rows: int, length: int, side: Side, *, alone: bool = False) -> Outputs:
    """By name: what we compute and what transformers does, where there is no padding.

    alone: transformers is given all of a text at once, and no other; we are given a batch.
    """
    source = Batch.draw(rows, length, side, source_side(twins.spec).embedding.vocab_size, length)
    with torch.no_grad():
        if isinstance(twins.spec, arch.EncoderDecoder):
            return dict(_of_pair(twins, engine, source, length))
        if isinstance(twins.spec, arch.DecoderOnly) and twins.spec.head is not None:
            return dict(_of_decoder(twins, engine, source, alone))
        return dict(_of_text(twins, engine, source))


def _of_text(twins: Twins, engine: Engine, batch: Batch) -> Iterator[tuple[str, tuple[Array, Array]]]:
    graph = twins.model(engine)
    types = (torch.arange(batch.ids.shape[1]) > 2).long().expand_as(batch.ids)
    feeds = {"input_ids": batch.ids, "attention_mask": batch.mask, "token_type_ids": types.contiguous()}
    feeds = {name: feeds[name] for name in graph.inputs}
    found = graph.run({name: value.numpy() for name, value in feeds.items()})
    if isinstance(twins.spec, arch.DecoderOnly):
        feeds["position_ids"] = batch.positions
    reference = twins.reference
    expected = (reference.get_encoder() if reference.config.is_encoder_decoder else reference)(**feeds)
    for name, ours in found.items():
        theirs = expected[name].numpy()
        seen = batch.mask.numpy() != 0 if theirs.shape[:2] == batch.mask.shape else slice(None)
        yield name, (ours[seen], theirs[seen])


def _of_decoder(twins: Twins, engine: Engine, batch: Batch, alone: bool) -> Iterator[tuple[str, tuple[Array, Array]]]:
    decoder = twins.decoder(engine)
    state = decoder.start(Sources.pad([[] for _ in batch.ids], PAD), 1)
    ids = batch.ids.masked_fill(batch.mask == 0, -1).numpy()
    chunks = ((0, None),) if alone else CHUNKS
    ours = np.concatenate([decoder.forward(state, ids[:, a:b]) for a, b in chunks if ids[:, a:b].size], axis=1)
    seen = batch.mask.numpy() != 0
    if alone:
        theirs = torch.cat([twins.reference(input_ids=torch.tensor([row])).logits[0] for row in batch.rows])
    else:
        feeds = {"input_ids": batch.ids, "attention_mask": batch.mask, "position_ids": batch.positions}
        theirs = twins.reference(**feeds).logits[seen]
    yield ports.LOGITS, (ours[seen], theirs.numpy())


def _of_pair(twins: Twins, engine: Engine, source: Batch, length: int) -> Iterator[tuple[str, tuple[Array, Array]]]:
    """Two rows for each source, as beams are; targets are padded on the right or not at all."""
    assert isinstance(twins.spec, arch.EncoderDecoder)
    decoder = twins.decoder(engine)
    assert decoder.encoder is not None
    hidden = decoder.encoder.run({"input_ids": source.ids.numpy(), "attention_mask": source.mask.numpy()})
    side: Side = "none" if len(source.ids) == 1 else "right"
    target = Batch.draw(2 * len(source.ids), 2 * len(source.ids) + 5, side, twins.spec.decoder.embedding.vocab_size)
    state = decoder.start(Sources(source.ids.numpy(), source.mask.numpy()), 2)
    ids = target.ids.masked_fill(target.mask == 0, -1).numpy()
    ours = np.concatenate([decoder.forward(state, ids[:, a:b]) for a, b in CHUNKS], axis=1)
    expected = twins.reference(
        input_ids=source.ids.repeat_interleave(2, dim=0),
        attention_mask=source.mask.repeat_interleave(2, dim=0),
        decoder_input_ids=target.ids,
    )
    seen = source.mask.numpy() != 0
    states = expected.encoder_last_hidden_state[::2].numpy()
    yield ports.LAST_HIDDEN_STATE, (hidden[ports.LAST_HIDDEN_STATE][seen], states[seen])
    seen = target.mask.numpy() != 0
    yield ports.LOGITS, (ours[seen], expected.logits.numpy()[seen])


def generated(
    twins: Twins, engine: Engine, prompts: list[list[int]], *, alone: bool = False, **options: Any
) -> tuple[list[list[int]], list[list[int]]]:
    """What we generate, in one batch, and what transformers does, so too or alone for each."""
    ours = [hypotheses[0].ids for hypotheses in twins.generator(engine)(prompts, **options)]
    groups = [[prompt] for prompt in prompts] if alone else [prompts]
    theirs = [_ending(row) for group in groups for row in _generate(twins, group, options)]
    return ours, theirs


def _generate(twins: Twins, prompts: list[list[int]], options: dict[str, Any]) -> list[list[int]]:
    """Sources are padded on the right, prompts on the left."""
    is_pair = isinstance(twins.spec, arch.EncoderDecoder)
    rows = [prompt if is_pair else prompt[::-1] for prompt in prompts]
    padded = Sources.pad(rows, PAD)
    ids, mask = (torch.from_numpy(value if is_pair else value[:, ::-1].copy()) for value in (padded.ids, padded.mask))
    given = 1 if is_pair else ids.shape[1]
    found = twins.reference.generate(input_ids=ids, attention_mask=mask, do_sample=False, **options)
    return [row[given:] for row in found.tolist()]


def _ending(row: list[int]) -> list[int]:
    """A row up to its end; padding follows."""
    return row[: row.index(EOS) + 1] if EOS in row else row


def relative_error(ours: Array, theirs: Array) -> float:
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
