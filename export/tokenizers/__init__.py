"""A checkpoint's tokenizer files as tokenizers of one library, `tokenizers`.

`tokenizer.json` is taken as it is. Otherwise the tokenizer's class decides what is read and how: the one that
tokenizer_config.json or config.json names, else the family's. The ids are those that AutoTokenizer of transformers 5
gives for the same folder.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers

from diptych.export.errors import ExportError
from diptych.export.tokenizers import llama, m2m_100, marian, merges, unigram, wordpiece
from diptych.export.tokenizers.folder import Folder
from diptych.export.tokenizers.languages import in_tokenizer
from diptych.export.tokenizers.result import Tokenizers, unknown_id
from diptych.export.tokenizers.settings import Settings, Special, read_settings
from diptych.export.tokenizers.spaces import cleaned
from diptych.runtime import ports

__all__ = ["Tokenizers", "read_tokenizers"]


class Kind(NamedTuple):
    """The files a tokenizer's class is read from, what reads them, and its special tokens."""

    files: tuple[str, ...]
    read: Callable[[Folder, Settings], Tokenizers]
    special: Special


_BERT = Kind(("vocab.txt",), wordpiece.bert, wordpiece.SPECIAL)
_ROBERTA = Kind(("vocab.json", "merges.txt"), merges.roberta, merges.ROBERTA)
_BARE = Kind(("tokenizer.model",), llama.bare, {})
CLASSES = {
    "BertTokenizer": _BERT,
    "DistilBertTokenizer": _BERT,
    "RobertaTokenizer": _ROBERTA,
    "BartTokenizer": _ROBERTA,
    "GPT2Tokenizer": Kind(("vocab.json", "merges.txt"), merges.gpt2, merges.GPT2),
    "OpenAIGPTTokenizer": Kind(("vocab.json", "merges.txt"), merges.gpt, merges.GPT),
    "T5Tokenizer": Kind(("spiece.model",), unigram.t5, unigram.T5),
    "PegasusTokenizer": Kind(("spiece.model",), unigram.pegasus, unigram.PEGASUS),
    "XLMRobertaTokenizer": Kind(("sentencepiece.bpe.model",), unigram.xlm_roberta, unigram.XLM_ROBERTA),
    "CamembertTokenizer": Kind(("sentencepiece.bpe.model",), unigram.camembert, unigram.MBART),
    "MBartTokenizer": Kind(("sentencepiece.bpe.model",), unigram.mbart, unigram.MBART),
    "MBart50Tokenizer": Kind(("sentencepiece.bpe.model",), unigram.mbart50, unigram.MBART50),
    "M2M100Tokenizer": Kind(("vocab.json", "sentencepiece.bpe.model"), m2m_100.m2m_100, m2m_100.M2M100),
    "NllbTokenizer": Kind(("sentencepiece.bpe.model",), m2m_100.nllb, m2m_100.NLLB),
    "MarianTokenizer": Kind(("source.spm", "target.spm", "vocab.json"), marian.marian, marian.SPECIAL),
    "LlamaTokenizer": Kind(("tokenizer.model",), llama.llama, llama.LLAMA),
    "TokenizersBackend": _BARE,
    "PreTrainedTokenizer": _BARE,
}
FAMILIES = {
    "bert": "BertTokenizer",
    "distilbert": "BertTokenizer",
    "roberta": "RobertaTokenizer",
    "bart": "RobertaTokenizer",
    "gpt2": "GPT2Tokenizer",
    "gpt_neo": "GPT2Tokenizer",
    "opt": "GPT2Tokenizer",
    "openai-gpt": "OpenAIGPTTokenizer",
    "t5": "T5Tokenizer",
    "mt5": "T5Tokenizer",
    "pegasus": "PegasusTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "camembert": "CamembertTokenizer",
    "mbart": "MBartTokenizer",
    "m2m_100": "M2M100Tokenizer",
    "marian": "MarianTokenizer",
    "llama": "TokenizersBackend",
}
SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
OTHERS = ("merges.txt", "sentencepiece.model", "spm.model", "bpe.codes", "tekken.json", "tiktoken.model")
KNOWN = dict.fromkeys([ports.TOKENIZER_FILE, *(name for kind in CLASSES.values() for name in kind.files), *OTHERS])


def read_tokenizers(folder: Path, family: str, config: Mapping[str, Any]) -> Tokenizers | None:
    """What the folder has to turn text into ids and back; family: config.json's model_type, config: all of it.

    None if it has no tokenizer files. Raises ExportError if they are damaged, incomplete or of another kind than the
    tokenizer's class is read from.
    """
    try:
        return _read(Folder(folder), family, config)
    except (TypeError, AttributeError, KeyError, IndexError, OverflowError) as error:
        raise ExportError(
            f"{folder}: its tokenizer's files are not as transformers writes them ({type(error).__name__}: {error}); "
            "check tokenizer_config.json"
        ) from error


def _read(files: Folder, family: str, config: Mapping[str, Any]) -> Tokenizers | None:
    folder = files.path
    there = [name for name in [*KNOWN, *SETTINGS] if files.has(name)]
    if not there:
        return None
    settings = read_settings(files)
    name = _class_name(files, settings, family, config)
    if files.has(ports.TOKENIZER_FILE):
        return cleaned(_as_it_is(files, settings, family, name), settings, name)
    if name is None:
        raise ExportError(
            f"{folder}: has {', '.join(there)}; the tokenizer of a {family} checkpoint is read from "
            "tokenizer.json only. Save it as one with `tokenizers`, or remove these files and work with ids"
        )
    kind = CLASSES.get(name)
    if kind is None:
        raise ExportError(
            f"{folder}: its tokenizer's class is {name}; read from other files than tokenizer.json are "
            f"{', '.join(CLASSES)}. Save it as tokenizer.json, or remove its files and work with ids"
        )
    missing = [name for name in kind.files if not files.has(name)]
    if missing:
        raise ExportError(
            f"{folder}: has {', '.join(there)}, but not {' and '.join(missing)}; a {family} checkpoint's {name} is "
            f"read from tokenizer.json or {' with '.join(kind.files)}. Add what is missing, or remove the tokenizer's "
            "files and work with ids"
        )
    return cleaned(kind.read(files, settings), settings, name)


def _class_name(files: Folder, settings: Settings, family: str, config: Mapping[str, Any]) -> str | None:
    """The tokenizer's class, None if nothing tells it. Whether a tokenizer is meant to be fast is no matter."""
    told = settings.options.get("tokenizer_class") or config.get("tokenizer_class")
    if told is not None:
        return str(told).removesuffix("Fast")
    if family == "m2m_100" and not files.has("vocab.json"):
        return "NllbTokenizer"
    return FAMILIES.get(family)


def _as_it_is(files: Folder, settings: Settings, family: str, name: str | None) -> Tokenizers:
    """Raises ExportError if tokenizer.json is damaged."""
    path = files.file(ports.TOKENIZER_FILE)
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # The library raises bare Exception.
        raise ExportError(f"{path}: not a tokenizer ({error})") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # A class that stands for any tokenizer, or one that we do not know, says nothing of special tokens.
    kinds = (CLASSES.get(told or "", _BARE) for told in (name, FAMILIES.get(family)))
    mask = settings.named(next((kind.special for kind in kinds if kind is not _BARE), {})).get("mask_token")
    return Tokenizers(
        source=tokenizer,
        target=None,
        languages=in_tokenizer(tokenizer, family, settings.options),
        files=tuple(files.read),
        unknown=unknown_id(tokenizer),
        mask=None if mask is None else tokenizer.token_to_id(mask.content),
        converted=False,
    )
