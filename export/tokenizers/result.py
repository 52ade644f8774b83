"""What is made of a checkpoint's tokenizer files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tokenizers import AddedToken
from tokenizers.processors import TemplateProcessing

from diptych.export.tokenizers.folder import Folder
from diptych.export.tokenizers.settings import Settings, text_of
from diptych.runtime.languages import Languages


@dataclass(frozen=True)
class Tokenizers:
    """The tokenizers of a checkpoint.

    target: the target's, where it is not the source's. languages: where the model is multilingual. files: what was
    read. unknown, mask: the ids of unknown text and of the mask token, if they have one. converted: whether the
    tokenizers were put together here; if not, the folder's tokenizer.json is to be copied as it is.
    """

    source: tokenizers.Tokenizer
    target: tokenizers.Tokenizer | None
    languages: Languages | None
    files: tuple[Path, ...]
    unknown: int | None
    mask: int | None
    converted: bool


def converted(
    folder: Folder,
    source: tokenizers.Tokenizer,
    named: Mapping[str, AddedToken],
    languages: Languages | None = None,
    target: tokenizers.Tokenizer | None = None,
) -> Tokenizers:
    """The result of a conversion; named: the special tokens by role."""
    mask = named.get("mask_token")
    found = None if mask is None else source.token_to_id(mask.content)
    return Tokenizers(source, target, languages, tuple(folder.read), unknown_id(source), found, converted=True)


def unknown_id(tokenizer: tokenizers.Tokenizer) -> int | None:
    """The id of text outside the vocabulary: unigram models name it by id, the others by token."""
    model = json.loads(tokenizer.to_str())["model"]
    found = model.get("unk_id")
    vocabulary = model.get("vocab")
    if found is None and isinstance(vocabulary, dict):
        found = vocabulary.get(model.get("unk_token"))
    return found if isinstance(found, int) else None


def frame(tokenizer: tokenizers.Tokenizer, named: Mapping[str, AddedToken], single: str, pair: str) -> None:
    """Sets what is put around one text and around two: roles without `_token` and the texts $A, $B, each `:type`.

    Raises ExportError if the tokenizer has no token for a role.
    """
    vocabulary = tokenizer.get_vocab()
    ids: dict[str, int] = {}

    def filled(template: str) -> list[str]:
        words = []
        for word in template.split():
            role, colon, kind = word.partition(":")
            if not role.startswith("$"):
                role = text_of(named, f"{role}_token")
                ids[role] = vocabulary[role]
            words.append(role + colon + kind)
        return words

    single_words, pair_words = filled(single), filled(pair)
    tokenizer.post_processor = TemplateProcessing(
        single=single_words, pair=pair_words, special_tokens=list(ids.items())
    )


def frame_by_options(tokenizer: tokenizers.Tokenizer, named: Mapping[str, AddedToken], settings: Settings) -> None:
    """As `frame`, where tokenizer_config.json says whether a text begins with bos and ends with eos: by default, no."""
    before = "bos" if settings.options.get("add_bos_token") and "bos_token" in named else None
    after = "eos" if settings.options.get("add_eos_token") and "eos_token" in named else None
    single, second = (
        " ".join(f"{word}:{kind}" for word in (before, text, after) if word) for kind, text in enumerate(("$A", "$B"))
    )
    frame(tokenizer, named, single, f"{single} {second}")
