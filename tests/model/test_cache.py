"""Cache in, cache out: how the tokens are cut into calls, padded or batched changes nothing."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from diptych.model import EncoderDecoder
from diptych.model import architecture as arch

Randomise = Callable[[nn.Module, int], None]

VOCAB, HEADS, HEAD_DIM, DEPTH, LENGTH = 43, 3, 8, 2, 6
CHUNKINGS = [
    [
        len(part)
        for part in "".join("x" if not bits >> place & 1 else "x|" for place in range(LENGTH)).strip("|").split("|")
    ]
    for bits in range(2 ** (LENGTH - 1))
]


def stack(norm_place: arch.NormPlace, positions: arch.Positions) -> arch.Stack:
    norm = arch.LayerNorm()
    attention, feed_forward = arch.Attention(HEADS, HEAD_DIM), arch.FeedForward(40, "gelu")
    layer = arch.Layer(attention, feed_forward, norm, norm_place, cross_attention=attention)
    embedding = arch.Embedding(VOCAB, positions, scale=2.0)
    return arch.Stack(HEADS * HEAD_DIM, (layer,) * DEPTH, embedding, norm if norm_place == "input" else None)


@pytest.fixture(params=["input", "output"])
def network(request: pytest.FixtureRequest, randomise: Randomise) -> EncoderDecoder:
    spec = arch.EncoderDecoder(
        encoder=stack(request.param, arch.Sinusoidal(16)),
        decoder=stack(request.param, arch.Learned(16)),
        head=arch.Head(tied=False, bias=True),
        shared_embedding=False,
    )
    network = EncoderDecoder(spec).eval().requires_grad_(False)
    randomise(network, 9)
    return network


@pytest.fixture
def source() -> Tensor:
    return torch.randint(0, VOCAB, (2, 7), generator=torch.Generator().manual_seed(10))


@pytest.fixture
def target() -> Tensor:
    return torch.randint(0, VOCAB, (2, LENGTH), generator=torch.Generator().manual_seed(11))


def decode(
    network: EncoderDecoder,
    source: Tensor,
    target: Tensor,
    *,
    source_mask: Tensor | None = None,
    target_mask: Tensor | None = None,
    chunks: Sequence[int] | None = None,
) -> Tensor:
    """Logits [R, T, V], the target fed in chunks."""
    source_mask = torch.ones_like(source) if source_mask is None else source_mask
    target_mask = torch.ones_like(target) if target_mask is None else target_mask
    positions = (target_mask.cumsum(1) - 1).clamp(min=0)
    cross = network.decoder.project_cross(network.encoder(source, source_mask))
    empty = torch.zeros(len(target), HEADS, 0, HEAD_DIM)
    past, logits, start = [(empty, empty)] * DEPTH, [], 0
    for length in chunks or [target.shape[1]]:
        new = slice(start, start + length)
        part, past = network.decoder(
            target[:, new], positions[:, new], target_mask[:, : new.stop], past, cross, source_mask
        )
        logits.append(network.head(part))
        start += length
    assert past[0][0].shape == (len(target), HEADS, target.shape[1], HEAD_DIM)
    return torch.cat(logits, dim=1)


def assert_close(ours: Tensor, expected: Tensor) -> None:
    assert ours.shape == expected.shape
    assert (ours - expected).abs().max() <= 1e-5 * expected.abs().max()


def differs(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() > 1e-2 * other.abs().max())


def mask_of(lengths: Sequence[int], width: int) -> Tensor:
    return (torch.arange(width) < torch.tensor(lengths)[:, None]).long()


@pytest.mark.parametrize("chunks", CHUNKINGS, ids=lambda chunks: "+".join(map(str, chunks)))
def test_steps_equal_prefill(chunks: list[int], network: EncoderDecoder, source: Tensor, target: Tensor) -> None:
    assert_close(decode(network, source, target, chunks=chunks), decode(network, source, target))


@pytest.mark.parametrize("chunks", [[6], [1] * 6, [2, 3, 1]], ids=str)
def test_rows_of_a_source_share_its_cross_entries(chunks: list[int], network: EncoderDecoder, source: Tensor) -> None:
    target = torch.randint(0, VOCAB, (6, LENGTH), generator=torch.Generator().manual_seed(12))
    mask = mask_of([7, 4], 7)
    repeated = decode(
        network, source.repeat_interleave(3, 0), target, source_mask=mask.repeat_interleave(3, 0), chunks=chunks
    )
    assert_close(decode(network, source, target, source_mask=mask, chunks=chunks), repeated)


@pytest.mark.parametrize("place", range(1, LENGTH))
def test_later_tokens_change_nothing_before(
    place: int, network: EncoderDecoder, source: Tensor, target: Tensor
) -> None:
    changed = target.clone()
    changed[:, place] = (changed[:, place] + 1) % VOCAB
    before, after = decode(network, source, target), decode(network, source, changed)
    assert torch.equal(before[:, :place], after[:, :place])
    for later in range(place, LENGTH):
        assert differs(after[:, later], before[:, later])


@pytest.mark.parametrize("place", [0, 3, 6])
def test_every_source_token_is_seen_everywhere(place: int, network: EncoderDecoder, source: Tensor) -> None:
    changed = source.clone()
    changed[:, place] = (changed[:, place] + 1) % VOCAB
    mask = torch.ones_like(source)
    before, after = network.encoder(source, mask), network.encoder(changed, mask)
    for position in range(source.shape[1]):
        assert (before[:, position] - after[:, position]).abs().amax(-1).min() > 1e-4


@pytest.mark.parametrize("filler", [0, 5, VOCAB - 1])
def test_padding_of_the_source(filler: int, network: EncoderDecoder, source: Tensor, target: Tensor) -> None:
    padded = torch.cat([source, torch.full((2, 3), filler)], dim=1)
    mask = mask_of([7, 7], 10)
    assert_close(network.encoder(padded, mask)[:, :7], network.encoder(source, torch.ones_like(source)))
    assert_close(decode(network, padded, target, source_mask=mask), decode(network, source, target))


@pytest.mark.parametrize("filler", [0, 5, VOCAB - 1])
@pytest.mark.parametrize("chunks", [[9], [3, 6], [4, 5], [1] * 9], ids=str)
def test_left_padding_of_the_target(
    filler: int, chunks: list[int], network: EncoderDecoder, source: Tensor, target: Tensor
) -> None:
    padded = torch.cat([torch.full((2, 3), filler), target], dim=1)
    mask = mask_of([3, 3], 9) ^ 1
    found = decode(network, source, padded, target_mask=mask, chunks=chunks)
    assert_close(found[:, 3:], decode(network, source, target))


@pytest.mark.parametrize("row", [0, 1])
def test_a_row_is_the_same_alone(row: int, network: EncoderDecoder, source: Tensor, target: Tensor) -> None:
    mask = mask_of([7, 3], 7)
    together = decode(network, source, target, source_mask=mask)[row]
    length = int(mask[row].sum())
    assert_close(together, decode(network, source[row : row + 1, :length], target[row : row + 1])[0])


@pytest.mark.parametrize("chunks", [[6], [1] * 6], ids=str)
def test_a_row_without_tokens_is_harmless(
    chunks: list[int], network: EncoderDecoder, source: Tensor, target: Tensor
) -> None:
    source_mask, target_mask = mask_of([7, 0], 7), mask_of([LENGTH, 0], LENGTH)
    logits = decode(network, source, target, source_mask=source_mask, target_mask=target_mask, chunks=chunks)
    assert logits.isfinite().all()
    assert network.encoder(source, source_mask).isfinite().all()
    assert_close(logits[:1], decode(network, source[:1], target[:1], chunks=chunks))
