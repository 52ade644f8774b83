"""The tokenizers of M2M100, with languages like `__fr__`, and NLLB, with languages like `fra_Latn`."""

from tokenizers import AddedToken, Regex, Tokenizer, normalizers
from tokenizers.decoders import Metaspace as MetaspaceDecoder
from tokenizers.models import BPE
from tokenizers.normalizers import Precompiled, Replace
from tokenizers.pre_tokenizers import Metaspace

from diptych.export.errors import ExportError
from diptych.export.tokenizers import languages
from diptych.export.tokenizers.exact import exact_tokenizer
from diptych.export.tokenizers.folder import Folder
from diptych.export.tokenizers.result import Tokenizers, converted
from diptych.export.tokenizers.sentencepieces import read_sentencepieces
from diptych.export.tokenizers.settings import Settings, Special, text_of

MODEL = "sentencepiece.bpe.model"
M2M100: Special = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
}
NLLB: Special = {
    **M2M100,
    "cls_token": "<s>",
    "mask_token": AddedToken("<mask>", lstrip=True, normalized=True, special=True),
}


def m2m_100(folder: Folder, settings: Settings) -> Tokenizers:
    """SentencePiece's pieces with the ids of `vocab.json`, then the languages.

    Raises ExportError if a file is missing or damaged, or tokenizer_config.json names a language that is not there.
    """
    ids = folder.vocabulary("vocab.json")
    pieces = read_sentencepieces(folder.file(MODEL))
    named = settings.named(M2M100)
    unknown = text_of(named, "unk_token")
    if unknown not in ids:
        raise ExportError(f"{folder.path / 'vocab.json'}: lacks the unknown token {unknown!r}; is the file complete?")
    told = settings.options.get("language_codes", "m2m100")
    if told not in languages.M2M100:
        raise ExportError(f"{settings.path}: language_codes is {told!r}; known are {', '.join(languages.M2M100)}")
    settings = settings.literal(named)
    tokenizer = exact_tokenizer(pieces, ids, unknown, settings.contents(named))
    codes = {code: AddedToken(f"__{code}__", special=True) for code in languages.M2M100[told]}
    settings.add_tokens(tokenizer, named, settings.listed, dict(enumerate(codes.values(), len(ids))))
    languages.frame_with_language(tokenizer, named, settings.options.get("src_lang") or "en", codes, "lang $A eos")
    return converted(folder, tokenizer, named, languages.in_tokenizer(tokenizer, "m2m_100", settings.options))


def nllb(folder: Folder, settings: Settings) -> Tokenizers:
    """A BPE model of SentencePiece's, with its first ids as fairseq has them, then the languages.

    Raises ExportError if a file is missing or damaged, or tokenizer_config.json names a language that is not there.
    """
    pieces = read_sentencepieces(folder.file(MODEL))
    named = settings.named(NLLB)
    first = [text_of(named, f"{role}_token") for role in ("bos", "pad", "eos", "unk")]
    ids = {piece: number for number, piece in enumerate(dict.fromkeys([*first, *pieces.ids]))}
    tokenizer = Tokenizer(BPE(ids, pieces.merges(), unk_token=first[-1], fuse_unk=True))
    if pieces.charsmap:
        tokenizer.normalizer = normalizers.Sequence([Precompiled(pieces.charsmap), Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = Metaspace(prepend_scheme="always")
    tokenizer.decoder = MetaspaceDecoder(prepend_scheme="always")
    listed = [*(settings.extra or ()), *settings.listed, *settings.added.values()]
    codes = {token.content: token for token in listed if languages.SPELLED["m2m_100"].fullmatch(token.content)}
    if not codes:  # The family's own are always there.
        codes = {code: AddedToken(code, special=True) for code in languages.NLLB}
        named |= codes
    settings.add_tokens(tokenizer, named, [*pieces.added(), *codes.values()])
    template = "$A eos lang" if settings.options.get("legacy_behaviour") else "lang $A eos"
    told = settings.options.get("src_lang") or "eng_Latn"
    languages.frame_with_language(tokenizer, named, told, codes, template)
    return converted(folder, tokenizer, named, languages.in_tokenizer(tokenizer, "m2m_100", settings.options))
