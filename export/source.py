"""A checkpoint folder as the export and its verification read it: network, tokenizers, pooling."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from diptych.export.sentences import read_sentence_settings
from diptych.export.tokenizers import Tokenizers, read_tokenizers
from diptych.model.checkpoint import Checkpoint, load_checkpoint
from diptych.runtime.manifest import Pooling


@dataclass(frozen=True)
class Source:
    """folder: of the network itself, which sentence-transformers keep inside the checkpoint's. pooling: as it says."""

    folder: Path
    loaded: Checkpoint
    tokenizers: Tokenizers | None
    pooling: Pooling | None


def read_source(
    checkpoint: Path, task: str | None = None, config: Path | None = None, ignored_keys: Collection[str] = ()
) -> Source:
    """Arguments and errors as of `load_checkpoint`; raises ExportError for a tokenizer that is not supported."""
    sentences = read_sentence_settings(checkpoint) if task in (None, "embed") else None
    folder = sentences.folder if sentences else checkpoint
    loaded = load_checkpoint(folder, "embed" if sentences else task, ignored_keys, config)
    tokenizers = read_tokenizers(folder, loaded.family, loaded.config)
    return Source(folder, loaded, tokenizers, sentences.pooling if sentences else None)
