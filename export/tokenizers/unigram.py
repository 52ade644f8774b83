"""Tokenizers from SentencePiece's unigram models; each family has ids of its own beside those of the model's pieces."""

from collections.abc import Iterable, Mapping

from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.decoders import Metaspace as MetaspaceDecoder
from tokenizers.models import Unigram
from tokenizers.normalizers import Precompiled, Replace
from tokenizers.pre_tokenizers import Metaspace, WhitespaceSplit

from diptych.export.errors import ExportError
from diptych.export.tokenizers import languages
from diptych.export.tokenizers.folder import Folder
from diptych.export.tokenizers.result import Tokenizers, converted, frame
from diptych.export.tokenizers.sentencepieces import SentencePieces, read_sentencepieces
from diptych.export.tokenizers.settings import Settings, Special, text_of

Vocabulary = list[tuple[str, float]]
T5: Special = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
PEGASUS: Special = {**T5, "mask_token": "<mask_2>"}
XLM_ROBERTA: Special = {**T5, "bos_token": "<s>", "sep_token": "</s>", "cls_token": "<s>", "mask_token": "<mask>"}
# Here the mask takes the space before it along.
MBART: Special = {**XLM_ROBERTA, "mask_token": AddedToken("<mask>", lstrip=True, special=True)}
MBART50: Special = {role: token for role, token in MBART.items() if role != "bos_token"}


def t5(folder: Folder, settings: Settings) -> Tokenizers:
    """T5 and mT5: the sentinels come after the model's pieces, the first sentinel last."""
    pieces, named = read_sentencepieces(folder.file("spiece.model")), settings.named(T5)
    sentinels = [f"<extra_id_{number}>" for number in range(settings.options.get("extra_ids", 100))]
    tokenizer = _of_words([*pieces.scores, *_rated(reversed(sentinels))], 2, pieces.charsmap)
    settings.add_tokens(tokenizer, named, [*pieces.added(), *sentinels])
    frame(tokenizer, named, "$A eos", "$A eos $B eos")
    return converted(folder, tokenizer, named)


def pegasus(folder: Folder, settings: Settings) -> Tokenizers:
    """Masks and tokens that only served in training come before all but two of the model's pieces."""
    pieces, named = read_sentencepieces(folder.file("spiece.model")), settings.named(PEGASUS)
    options = {**settings.options, **{role: token.content for role, token in settings.roles.items() if token}}
    masks = [options.get("mask_token", "<mask_1>"), options.get("mask_token_sent", "<mask_2>")]
    declared = {token.content: number for number, token in settings.added.items()}
    masks = sorted((mask for mask in dict.fromkeys(masks) if mask is not None), key=lambda mask: declared.get(mask, 0))
    unused = [f"<unk_{number}>" for number in range(2, options.get("offset", 103))]
    first = [text_of(named, "pad_token"), text_of(named, "eos_token"), *masks]
    vocabulary = [*_rated(first), *_rated(unused, -100.0), *pieces.scores[2:]]
    tokens, unknown = [token for token, _ in vocabulary], text_of(named, "unk_token")
    if unknown not in tokens:
        raise ExportError(
            f"{pieces.path}: lacks the unknown token {unknown!r}; does tokenizer_config.json belong to it?"
        )
    tokenizer = _of_text(vocabulary, tokens.index(unknown), pieces.charsmap)
    if not pieces.charsmap:
        tokenizer.normalizer = normalizers.Sequence([Replace("\n", " "), Replace(Regex(" {2,}"), " ")])
    sentence = options.get("mask_token_sent", "<mask_1>")
    settings.add_tokens(tokenizer, named, [*([sentence] if sentence is not None else []), *unused])
    frame(tokenizer, named, "$A eos", "$A $B eos")
    return converted(folder, tokenizer, named)


def xlm_roberta(folder: Folder, settings: Settings) -> Tokenizers:
    pieces, named = read_sentencepieces(folder.file("sentencepiece.bpe.model")), settings.named(XLM_ROBERTA)
    prefix = "always" if settings.options.get("add_prefix_space", True) else "never"
    tokenizer = _of_words(_fairseq(pieces, named, "bos"), 3, pieces.charsmap, prefix)
    settings.add_tokens(tokenizer, named, pieces.added())
    frame(tokenizer, named, "bos $A eos", "bos $A eos eos $B eos")
    return converted(folder, tokenizer, named)


def camembert(folder: Folder, settings: Settings) -> Tokenizers:
    """As XLM-RoBERTa, but <s> and </s> are the model's own pieces."""
    pieces, named = read_sentencepieces(folder.file("sentencepiece.bpe.model")), settings.named(MBART)
    first = ["<s>NOTUSED", text_of(named, "pad_token"), "</s>NOTUSED", text_of(named, "unk_token")]
    rest = [("<unk>NOTUSED", -100.0), *pieces.scores[1:], (text_of(named, "mask_token"), 0.0)]
    prefix = "always" if settings.options.get("add_prefix_space", True) else "never"
    tokenizer = _of_words([*_rated(first), *rest], 3, pieces.charsmap, prefix)
    settings.add_tokens(tokenizer, named, pieces.added())
    frame(tokenizer, named, "bos $A eos", "bos $A eos eos $B eos")
    return converted(folder, tokenizer, named)


def mbart(folder: Folder, settings: Settings) -> Tokenizers:
    """mBART-25, which takes characters as they are. Raises ExportError if src_lang is none of its languages."""
    pieces, named = read_sentencepieces(folder.file("sentencepiece.bpe.model")), settings.named(MBART)
    codes = {code: AddedToken(code, special=True) for code in languages.MBART}
    tokenizer = _of_words(_fairseq(pieces, named, "bos", codes), 3, charsmap=b"")
    settings.add_tokens(tokenizer, named, [*codes.values(), *pieces.added()])
    languages.frame_with_language(tokenizer, named, settings.options.get("src_lang") or "en_XX", codes, "$A eos lang")
    return converted(folder, tokenizer, named, languages.in_tokenizer(tokenizer, "mbart", settings.options))


def mbart50(folder: Folder, settings: Settings) -> Tokenizers:
    """Raises ExportError if src_lang is none of its languages."""
    pieces, named = read_sentencepieces(folder.file("sentencepiece.bpe.model")), settings.named(MBART50)
    codes = {code: AddedToken(code, special=True) for code in languages.MBART50}
    tokenizer = _of_text(_fairseq(pieces, named, "cls", codes), 3, pieces.charsmap)
    settings.add_tokens(tokenizer, named, [*pieces.added(), *codes.values()])
    languages.frame_with_language(tokenizer, named, settings.options.get("src_lang") or "en_XX", codes, "lang $A eos")
    return converted(folder, tokenizer, named, languages.in_tokenizer(tokenizer, "mbart", settings.options))


def _fairseq(
    pieces: SentencePieces, named: Mapping[str, AddedToken], first: str, codes: Iterable[str] = ()
) -> Vocabulary:
    """Four special tokens take the places of the model's three; languages and the mask come last."""
    before = [text_of(named, f"{role}_token") for role in (first, "pad", "eos", "unk")]
    return [*_rated(before), *pieces.scores[3:], *_rated([*codes, text_of(named, "mask_token")])]


def _rated(tokens: Iterable[str], score: float = 0.0) -> Vocabulary:
    return [(token, score) for token in tokens]


def _of_words(vocabulary: Vocabulary, unknown: int, charsmap: bytes, prefix: str = "always") -> Tokenizer:
    """Texts are cut at all white space, of which nothing remains."""
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=unknown, byte_fallback=False))
    if charsmap:
        tokenizer.normalizer = Precompiled(charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([WhitespaceSplit(), Metaspace(prepend_scheme=prefix)])
    tokenizer.decoder = MetaspaceDecoder(prepend_scheme=prefix)
    return tokenizer


def _of_text(vocabulary: Vocabulary, unknown: int, charsmap: bytes) -> Tokenizer:
    """Texts are cut at spaces, each run of which is one."""
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=unknown, byte_fallback=False))
    squeezed = Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([Precompiled(charsmap), squeezed] if charsmap else [squeezed])
    tokenizer.pre_tokenizer = Metaspace(prepend_scheme="always")
    tokenizer.decoder = MetaspaceDecoder(prepend_scheme="always")
    return tokenizer
