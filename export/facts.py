"""What a checkpoint says of using it, as the manifest of a bundle."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from importlib import metadata
from typing import Any

from diptych.export.defaults import generation_defaults, source_side, special_tokens
from diptych.export.errors import ExportError
from diptych.export.sentences import default_pooling
from diptych.export.source import Source
from diptych.model import architecture as arch
from diptych.model.checkpoint import Checkpoint
from diptych.model.tasks import GENERATING
from diptych.runtime.bundle import file_digest
from diptych.runtime.manifest import Labels, Manifest, Pooling

_TOOLS = ("diptych", "torch", "onnx", "onnxscript", "onnx-ir")


def facts_of(source: Source, ignored: Collection[str] = ()) -> Manifest:
    """The manifest before there are files. ignored: keys of the configuration to pass over.

    Raises ExportError where the checkpoint's options cannot be honoured.
    """
    loaded, tokenizers, pooling = source.loaded, source.tokenizers, source.pooling
    spec = loaded.network.spec
    side = source_side(spec)
    positions = None if isinstance(spec, arch.EncoderOnly) else spec.decoder.longest
    generating = loaded.task in GENERATING
    tokens = special_tokens(loaded, *((tokenizers.unknown, tokenizers.mask) if tokenizers else ()))
    languages = tokenizers.languages if tokenizers and generating else None
    if languages is not None and not tokens.eos:
        raise ExportError(
            f"{loaded.folder}: no eos_token_id in its configuration; sources in several languages end with it"
        )
    return Manifest(
        task=loaded.task,
        family=loaded.family,
        tokens=tokens,
        source_vocabulary=side.embedding.vocab_size,
        source_positions=side.longest,
        target_positions=positions,
        generation=generation_defaults(loaded, positions, ignored) if generating else {},
        labels=_labels(loaded),
        pooling=_bounded(pooling, side.longest) or default_pooling(spec) if loaded.task == "embed" else None,
        languages=languages,
        tools={name: metadata.version(name) for name in _TOOLS},
        source={path.name: file_digest(path) for path in (*loaded.files, *(tokenizers.files if tokenizers else ()))},
    )


def _bounded(pooling: Pooling | None, positions: int | None) -> Pooling | None:
    """sentence-transformers cuts texts in any case, at the latest where the positions end."""
    if pooling is None or positions is None:
        return pooling
    return replace(pooling, max_length=min(pooling.max_length or positions, positions))


def _labels(loaded: Checkpoint) -> Labels | None:
    """As transformers' pipelines: one class alone has a score of its own."""
    if loaded.labels is None:
        return None
    if loaded.config.get("problem_type") == "regression":
        return Labels(loaded.labels, "none")
    named = _activation_of_cross_encoder(loaded.config)
    if named in ("Identity", "Sigmoid"):
        return Labels(loaded.labels, "none" if named == "Identity" else "sigmoid")
    several = loaded.config.get("problem_type") == "multi_label_classification"
    return Labels(loaded.labels, "sigmoid" if several or len(loaded.labels) == 1 else "softmax")


def _activation_of_cross_encoder(config: Mapping[str, Any]) -> str:
    """What sentence-transformers says there, as the name of a class of torch; of the last part of it."""
    settings = config.get("sentence_transformers")
    named = settings.get("activation_fn") if isinstance(settings, dict) else None
    return str(named or config.get("sbert_ce_default_activation_function")).split(".")[-1]
