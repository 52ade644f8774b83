"""What a checkpoint says about decoding: its special ids and generation options, resolved once, at export."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from diptych.export.errors import ExportError
from diptych.model import architecture as arch
from diptych.model.checkpoint import Checkpoint
from diptych.runtime.errors import OptionError
from diptych.runtime.generation.filters import make_filters
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.generation.refused import REFUSED
from diptych.runtime.manifest import SpecialTokens

# Special tokens have a place of their own; what else results have is asked for by a call; the others are not
# transformers', and may mean something else in a checkpoint's configuration.
_NOT_DEFAULTS = frozenset(
    """eos_token_id decoder_start_token_id output_scores output_attentions patience coverage_penalty alternatives
    min_alternative_expansion_prob seed json_schema regex grammar attention_layer""".split()
)
OPTIONS = frozenset(field.name for field in fields(GenerationOptions)) - _NOT_DEFAULTS

# Of the options that are refused, those that would change results, and the values with which they do not.
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "num_beam_groups": (1,),
    "diversity_penalty": (0, 0.0),
    "penalty_alpha": (0, 0.0),
    "guidance_scale": (1, 1.0),
    "constraints": (),
    "force_words_ids": (),
    "max_time": (),
    "watermarking_config": (),
    "dola_layers": (),
    "token_healing": (False,),
}

# Bookkeeping, caches that have no counterpart here, models that draft.
_INERT = frozenset(REFUSED) - _NEUTRAL.keys() | _NOT_DEFAULTS


def special_tokens(checkpoint: Checkpoint, unknown: int | None = None, mask: int | None = None) -> SpecialTokens:
    """The ids that reading and decoding need; `unknown` and `mask` are the tokenizer's.

    Raises ExportError if decoding could not start.
    """
    eos = _first(checkpoint, "eos_token_id")
    endings = tuple(eos) if isinstance(eos, list) else () if eos is None else (eos,)
    if not all(type(ending) is int for ending in endings):
        raise ExportError(f"{checkpoint.folder}: eos_token_id is {eos!r}; expected an id or a list of ids")
    pad = _first(checkpoint, "pad_token_id")
    found = SpecialTokens(
        pad=pad if isinstance(pad, int) and pad >= 0 else endings[0] if endings else 0,
        eos=endings,
        decoder_start=_decoder_start(checkpoint),
        unknown=unknown,
        mask=mask,
    )
    sides = {"pad_token_id" if found.pad == pad else "eos_token_id": (found.pad, source_side(checkpoint.network.spec))}
    if isinstance(checkpoint.network.spec, arch.EncoderDecoder) and found.decoder_start is not None:
        sides["decoder_start_token_id"] = found.decoder_start, checkpoint.network.spec.decoder
    for name, (token, side) in sides.items():
        size = side.embedding.vocab_size
        if not 0 <= token < size:
            raise ExportError(f"{checkpoint.folder}: {name} is {token}, outside the vocabulary of {size} tokens")
    return found


def source_side(spec: arch.Architecture) -> arch.Stack:
    """What reads the text: the encoder, or the decoder where it is alone."""
    return spec.decoder if isinstance(spec, arch.DecoderOnly) else spec.encoder


def _vocabulary(spec: arch.Architecture) -> int:
    """Of what is generated."""
    return (spec.encoder if isinstance(spec, arch.EncoderOnly) else spec.decoder).embedding.vocab_size


def _decoder_start(checkpoint: Checkpoint) -> int | None:
    if not isinstance(checkpoint.network.spec, arch.EncoderDecoder):
        return None
    start = _first(checkpoint, "decoder_start_token_id", "bos_token_id")
    if not isinstance(start, int):
        raise ExportError(f"{checkpoint.folder}: no decoder_start_token_id in generation_config.json or config.json")
    return start


def generation_defaults(checkpoint: Checkpoint, positions: int | None, ignored: Collection[str]) -> dict[str, Any]:
    """The checkpoint's options that `GenerationOptions` has, as JSON-like values.

    Options of `generation_config.json` win over those that older versions left in `config.json`. Raises ExportError for
    one that would change the result and is not supported, or is unknown.
    """
    found = {key: value for key, value in checkpoint.config.items() if key in OPTIONS | _NEUTRAL.keys()}
    if checkpoint.config.get("force_bos_token_to_be_generated"):  # What early BART checkpoints say instead.
        found.setdefault("forced_bos_token_id", checkpoint.config.get("bos_token_id"))
    found |= checkpoint.generation
    found = {key: value for key, value in found.items() if value is not None and key not in ignored}
    unsupported = [
        f"{key} = {found[key]!r}" for key, neutral in _NEUTRAL.items() if found.get(key) not in (None, *neutral)
    ]
    unknown = sorted(found.keys() - OPTIONS - _NEUTRAL.keys() - _INERT)
    if unsupported or unknown:
        names = [text.split(" = ")[0] for text in unsupported] + unknown
        raise ExportError(
            f"{checkpoint.folder}: generation options that are not supported: {', '.join(unsupported + unknown)}. "
            f"To decode without them, pass --ignore-config-key {' --ignore-config-key '.join(names)}"
        )
    options = {key: value for key, value in found.items() if key in OPTIONS}
    for name, most in (("max_length", positions), ("max_new_tokens", positions and positions - 1)):
        if isinstance(options.get(name), int) and most is not None:
            options[name] = min(options[name], most)
    try:
        chosen = GenerationOptions.from_mapping(options)
        make_filters(chosen, (), _vocabulary(checkpoint.network.spec))
    except OptionError as error:
        raise ExportError(f"{checkpoint.folder}: generation_config.json: {error}") from error
    return options


def _first(checkpoint: Checkpoint, *keys: str) -> Any:
    for key in keys:
        for values in (checkpoint.generation, checkpoint.config):
            if values.get(key) is not None:
                return values[key]
    return None
