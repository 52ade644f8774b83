"""Marian's tokenizers: `source.spm` and `target.spm` cut texts into pieces, `vocab.json` gives these their ids."""

import re
from collections.abc import Iterable, Mapping

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.normalizers import Normalizer, Replace

from diptych.export.errors import ExportError
from diptych.export.tokenizers.exact import TEXT, exact_tokenizer
from diptych.export.tokenizers.folder import Folder
from diptych.export.tokenizers.languages import TAG, by_tag
from diptych.export.tokenizers.result import Tokenizers, converted, frame
from diptych.export.tokenizers.sentencepieces import read_sentencepieces
from diptych.export.tokenizers.settings import Settings, Special, text_of

SPECIAL: Special = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
NO_LANGUAGE = "\ufdd5"  # Takes the place of a tag that is not in the vocabulary; no text has it.


def marian(folder: Folder, settings: Settings) -> Tokenizers:
    """Raises ExportError if a file is missing or damaged, or a vocabulary lacks the unknown token."""
    named = settings.named(SPECIAL)
    ids = folder.vocabulary("vocab.json")
    source = _tokenizer(folder, settings, named, "source.spm", "vocab.json", ids)
    if settings.options.get("separate_vocabs"):
        target_ids = folder.vocabulary("target_vocab.json")
        target = _tokenizer(folder, settings, named, "target.spm", "target_vocab.json", target_ids)
        return converted(folder, source, named, target=target)
    languages = by_tag(ids)
    if folder.file("source.spm").read_bytes() == folder.file("target.spm").read_bytes():
        return converted(folder, source, named, languages)
    target = _tokenizer(folder, settings, named, "target.spm", "vocab.json", ids)
    return converted(folder, source, named, languages, target)


def _tokenizer(
    folder: Folder, settings: Settings, named: Mapping[str, AddedToken], model: str, file: str, ids: Mapping[str, int]
) -> Tokenizer:
    pieces = read_sentencepieces(folder.file(model))
    unknown = text_of(named, "unk_token")
    if unknown not in ids:
        raise ExportError(f"{folder.path / file}: lacks the unknown token {unknown!r}; is the file complete?")
    settings = settings.literal(named)
    special = settings.contents(named)
    tags = [token for token in ids if TAG.fullmatch(token) and token not in special]
    tokenizer = exact_tokenizer(pieces, ids, unknown, special, tags, _split_off(tags))
    settings.add_tokens(tokenizer, named, settings.listed)
    frame(tokenizer, named, "$A eos", "$A $B eos")
    return tokenizer


def _split_off(tags: Iterable[str]) -> list[Normalizer]:
    """Makes what stands between >> and << at the beginning of a text a token of its own, unknown or not."""
    known = "|".join(map(re.escape, tags))
    other = Replace(Regex(f"\\A{f'(?!{known})' if known else ''}>>[\\s\\S]*?<<"), NO_LANGUAGE + TEXT)
    return [other, Replace(Regex(f"\\A(?:{known})\\K"), TEXT)] if known else [other]
