"""What the types of an architecture's records cannot say: numbers in range, and parts that fit each other."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from itertools import chain
from typing import Any

from diptych.model import architecture as arch
from diptych.model.errors import CheckpointError

# All other numbers are above 0.
_MAY_BE_ZERO = frozenset({"eps", "offset", "token_types", "unplaced"})

Problems = Iterator[str]


def check(spec: arch.Architecture, where: str) -> None:
    """Raises CheckpointError with the first thing that no network can be, if there is one."""
    problem = next(chain(_numbers(spec), _architecture(spec)), None)
    if problem is not None:
        raise CheckpointError(f"{where}.{problem}")


def _numbers(record: Any, path: str = "") -> Problems:
    for field in fields(record):
        value, place = getattr(record, field.name), f"{path}{field.name}"
        if is_dataclass(value):
            yield from _numbers(value, f"{place}.")
        elif isinstance(value, tuple):
            for index, item in enumerate(value):
                yield from _numbers(item, f"{place}[{index}].")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            zero = field.name in _MAY_BE_ZERO
            if value < 0 or (value == 0 and not zero):
                yield f"{place}: found {value}, expected {'0 or more' if zero else 'more than 0'}"


def _architecture(spec: arch.Architecture) -> Problems:
    match spec:
        case arch.EncoderDecoder(encoder, decoder):
            yield from _encoder(encoder)
            yield from _decoder(decoder, looks_back=True)
            if encoder.width != decoder.width:
                yield f"decoder.width: {decoder.width}, but it looks back at an encoder of width {encoder.width}"
            if spec.shared_embedding and _matrix(encoder) != _matrix(decoder):
                yield (
                    "shared_embedding: true, but one token matrix cannot be [vocab_size, width] "
                    f"{_matrix(encoder)} of the encoder and {_matrix(decoder)} of the decoder"
                )
            if encoder.embedding.token_types > 1:
                yield "encoder.embedding.token_types: more than 1, but a source has no parts to tell apart"
        case arch.EncoderOnly(encoder):
            yield from _encoder(encoder)
        case arch.DecoderOnly(decoder):
            yield from _decoder(decoder, looks_back=False)


def _encoder(stack: arch.Stack) -> Problems:
    yield from _stack(stack, "encoder", both_ways=True)
    for index, layer in enumerate(stack.layers):
        if layer.cross_attention is not None:
            yield f"encoder.layers[{index}].cross_attention: an encoder has nothing to look back at"
        if layer.attention.window is not None:
            yield f"encoder.layers[{index}].attention.window: only a decoder's self-attention can have one"


def _decoder(stack: arch.Stack, *, looks_back: bool) -> Problems:
    yield from _stack(stack, "decoder", both_ways=False)
    for index, layer in enumerate(stack.layers):
        place = f"decoder.layers[{index}].cross_attention"
        if looks_back and layer.cross_attention is None:
            yield f"{place}: missing; every decoder layer looks back at the encoder"
        if not looks_back and layer.cross_attention is not None:
            yield f"{place}: a decoder alone has nothing to look back at"
        if layer.cross_attention is not None and layer.cross_attention.window is not None:
            yield f"{place}.window: only a decoder's self-attention can have one"
    if stack.embedding.unplaced is not None:
        yield "decoder.embedding.unplaced: only an encoder can leave a token without a position"
    if stack.embedding.token_types > 1:
        yield "decoder.embedding.token_types: more than 1, but a decoder's text has no parts to tell apart"


def _stack(stack: arch.Stack, name: str, *, both_ways: bool) -> Problems:
    if not stack.layers:
        yield f"{name}.layers: none; expected at least one"
        return
    for index, layer in enumerate(stack.layers):
        for field, attention in (("attention", layer.attention), ("cross_attention", layer.cross_attention)):
            if attention is not None and attention.heads % attention.cached_heads:
                place = f"{name}.layers[{index}].{field}"
                yield f"{place}: {attention.heads} heads cannot share {attention.cached_heads} kv_heads evenly"
    embedding = stack.embedding
    if embedding.unplaced is not None and embedding.unplaced >= embedding.vocab_size:
        yield f"{name}.embedding.unplaced: {embedding.unplaced}, not a token; vocab_size is {embedding.vocab_size}"
    if stack.context is not None and embedding.positions is not None:
        yield f"{name}.context: the positions of the embedding say how long a text may be; leave one of them out"
    inclusive = isinstance(embedding.positions, arch.Sinusoidal) and embedding.positions.channels == "halves_inclusive"
    if inclusive and stack.width < 3:
        yield f"{name}.width: {stack.width}, expected at least 3 for positions in halves_inclusive"
    yield from _relative(stack, f"{name}.relative", both_ways=both_ways)


def _relative(stack: arch.Stack, place: str, *, both_ways: bool) -> Problems:
    attentions = [layer.attention for layer in stack.layers]
    match stack.relative:
        case arch.Bucketed(count, farthest):
            least = 4 if both_ways else 2
            own = count // least  # Distances that share their bucket with no other.
            if own < 1 or farthest <= own:
                yield f"{place}: count is {count}, farthest {farthest}; expected at least {least}, and above {own}"
            if len({attention.heads for attention in attentions}) > 1:
                yield f"{place}: one table serves all layers, so all must have as many heads"
        case arch.Rotary(base, scaling):
            head_dim = attentions[0].head_dim
            least = 4 if isinstance(scaling, arch.Dynamic) else 2
            if len({attention.head_dim for attention in attentions}) > 1:
                yield f"{place}: all layers turn alike, so all must have one head_dim"
            if head_dim % 2 or head_dim < least:
                yield f"{place}: turns pairs of channels, so head_dim {head_dim} must be even, and at least {least}"
            if base <= 1:
                yield f"{place}.base: found {base}, expected more than 1"
            yield from _scaling(scaling, f"{place}.scaling")


def _scaling(scaling: object, place: str) -> Problems:
    match scaling:
        case arch.Llama3(low=low, high=high) if low >= high:
            yield f"{place}: low is {low} and high is {high}; expected low below high"
        case arch.Yarn(fast=fast, slow=slow) if slow >= fast:
            yield f"{place}: slow is {slow} and fast is {fast}; expected slow below fast"


def _matrix(stack: arch.Stack) -> list[int]:
    """The shape of the token vectors."""
    return [stack.embedding.vocab_size, stack.embedding.width or stack.width]
