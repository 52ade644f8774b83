"""Small vocabularies of every kind, trained on corpus.txt, and checkpoint folders made of them."""

import io
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

# Written for these tests and kept as it is: every change makes other vocabularies.
CORPUS = Path(__file__).with_name("corpus.txt")
FRENCH = (
    "Où est la gare ? Ça va très bien, merci. Le garçon naïf a reçu une lettre à Noël. L'été, on mange des pêches.",
    "J'ai déjà oublié où j'ai mis les clés de l'hôtel. Nous étions là-bas hier soir, n'est-ce pas ?",
    "Elle préfère le thé. Il pleut, mais la fenêtre est ouverte. Combien ça coûte ? Voilà l'œuvre de sa sœur.",
)
OTHERS = (
    "Привет, мир! Это просто пример.",
    "Ελληνικά και αγγλικά",
    "北京 天安门 日本語 한국어",
    "مرحبا بالعالم",
    "שלום עולם",
)
SENTENCEPIECE: dict[str, dict[str, Any]] = {
    "unigram": {"vocab_size": 700},
    "bpe": {"vocab_size": 700, "model_type": "bpe"},
    "bytes": {"vocab_size": 900, "model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity"},
    "bytes-unigram": {"vocab_size": 900, "byte_fallback": True},
    "t5": {"vocab_size": 700, "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    "identity": {"vocab_size": 700, "normalization_rule_name": "identity", "remove_extra_whitespaces": False},
    "symbols": {"vocab_size": 700, "user_defined_symbols": ["<sym>", "abc"], "control_symbols": ["<ctl>"]},
    "char": {"vocab_size": 200, "model_type": "char"},
    "word": {"vocab_size": 300, "model_type": "word"},
}

Files = Mapping[str, Path | str | bytes | dict[str, Any] | list[Any]]
MakeFolder = Callable[..., Path]


@pytest.fixture(scope="session")
def corpus() -> list[str]:
    return [*CORPUS.read_text(encoding="utf-8").splitlines(), *FRENCH, *OTHERS]


def trained(lines: Iterable[str], path: Path, **options: Any) -> Path:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    path.write_bytes(model.getvalue())
    return path


@pytest.fixture(scope="session")
def vocabularies(corpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files by name: a SentencePiece model for each kind above, and the text files of the other families."""
    folder = tmp_path_factory.mktemp("vocabularies")
    files = {name: trained(corpus, folder / f"{name}.model", **kind) for name, kind in SENTENCEPIECE.items()}
    files["target"] = trained(FRENCH * 30, folder / "target.model", vocab_size=200)
    files["target-bpe"] = trained(FRENCH * 30, folder / "target-bpe.model", vocab_size=200, model_type="bpe")

    bert = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    bert.normalizer, bert.pre_tokenizer = normalizers.BertNormalizer(lowercase=False), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    bert.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=600, special_tokens=special))
    ids = bert.get_vocab()
    files["vocab.txt"] = folder / "vocab.txt"
    files["vocab.txt"].write_text("".join(f"{token}\n" for token in sorted(ids, key=ids.__getitem__)), encoding="utf-8")

    for name, special in (("roberta", ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]), ("gpt2", ["<|endoftext|>"])):
        tokenizer = tokenizers.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=alphabet)
        tokenizer.train_from_iterator(corpus, trainer)
        files |= saved_merges(tokenizer, folder, name)

    gpt = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    gpt.normalizer, gpt.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>"], end_of_word_suffix="</w>")
    gpt.train_from_iterator(corpus, trainer)
    return files | saved_merges(gpt, folder, "gpt")


def saved_merges(tokenizer: tokenizers.Tokenizer, folder: Path, name: str) -> dict[str, Path]:
    vocabulary, merges = tokenizer.model.save(str(folder), name)
    return {f"{name}-vocab.json": Path(vocabulary), f"{name}-merges.txt": Path(merges)}


@pytest.fixture
def make_folder(tmp_path: Path, vocabularies: dict[str, Path]) -> MakeFolder:
    """make_folder(family, files, settings): files are ours by name, contents, or None for none."""

    def make(family: str, files: Mapping[str, Any], settings: dict[str, Any] | None = None, **config: Any) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            if isinstance(content, str):
                shutil.copyfile(vocabularies[content], path)
            elif isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.write_text(json.dumps(content), encoding="utf-8")
        (tmp_path / "config.json").write_text(json.dumps({"model_type": family, **config}), encoding="utf-8")
        if settings is not None:
            (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
        return tmp_path

    return make


@pytest.fixture(scope="session")
def pieces(vocabularies: dict[str, Path]) -> Callable[..., dict[str, int]]:
    """pieces(first, models, last): ids as a vocab.json has them for the text pieces of SentencePiece models."""

    def ids(first: Iterable[str], names: Iterable[str], last: Iterable[str] = ()) -> dict[str, int]:
        tokens = list(first)
        for name in names:
            model = sentencepiece.SentencePieceProcessor(model_file=str(vocabularies[name]))
            found = [i for i in range(len(model)) if not model.is_control(i) and not model.is_unknown(i)]
            # The ids of a vocabulary are not those of the model.
            tokens += [model.id_to_piece(i) for i in reversed(found)]
        return {token: number for number, token in enumerate(dict.fromkeys([*tokens, *last]))}

    return ids


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """What makes tokenizers differ."""
    return [
        "",
        " ",
        "   ",
        "Export the checkpoint.",
        "  Export   the  checkpoint  ",
        "É é e\u0301 E\u0301 ñ n\u0303 ü ệ e\u0323\u0302 e\u0302\u0323 ǖ u\u0308\u0304 ÀÉÎÕÜ",
        "naïve café — “quotes” … ‘single’ ½ ² ™ ﬁ ﬂ Ａｂ１ ① ㎏ ﬁ\u0301 ™\u0323",
        "👩🏽‍💻 👨‍👩‍👧‍👦 🇫🇷🇩🇪 ❤️ 😀😀 🏴\U000e0067\U000e0062\U000e007f 1️⃣",
        "我爱北京天安门。 日本語テスト ｶﾞｷﾞ か\u3099 한국어 \u1112\u1161\u11ab\u1100\u116e\u11a8",
        "مرحبا بالعالم ﷺ لَا شّ שלום עולם שָׁלוֹם กำลังทดสอบ น้ำ हिन्दी क़ क\u093c Привет, й и\u0306",
        "tab\there new\nline\n\nlines\r\nwindows\x0bv\x0cf\u2028l\u2029p",
        "a\u00a0b\u202fc\u2009d\u3000e zero\u200bwidth\u200djoin\u2060er\ufeffmark so\u00adft",
        "control\x00a\x01b\x07c\x1bd\x7fe\x85f \ufffd \U0010ffff \ue000",
        "a" * 150,
        "supercalifragilistic" * 15,
        "<s> hi </s>",
        "<s>hi</s><unk><pad><mask>",
        "a <mask> b a<mask>b",
        "[CLS] x [SEP] y [MASK] z [UNK] [PAD]",
        "<|endoftext|>end<|endoftext|> more",
        "<extra_id_0> and <extra_id_99> <mask_1> <mask_2> <unk_2> <unk_102>",
        ">>fra<< hello",
        ">>fra<<hello",
        ">>xxx<< hello",
        "hello >>fra<< there",
        ">>deu<<",
        ">> not << code",
        "</s>>>fra<< x",
        "en_XX fr_XX hello ro_RO __fr__ salut __en__ fra_Latn bonjour eng_Latn",
        "12345 3.14159 1,000,000 0xFF 2024-01-01 50%",
        "https://example.com/path?q=1&r=a%20b#frag user@mail.org",
        "C++ & <b>html</b> \\n $x^2$ {json: [1,2]} don't can't I'm we'll HELLO'S",
        "....... ------ !!!??? ________ ▁a ▁▁b a▁b ´a ¨b",
        "<new> and more<new>more, snew news new.",
        "<sym> a<sym>b abcabc <ctl>",
        "The quick brown fox jumps over the lazy dog. " * 10,
    ]


@pytest.fixture(scope="session")
def pairs() -> list[tuple[str, str]]:
    return [
        ("Hello", "world"),
        ("", "b"),
        ("a", ""),
        ("", ""),
        (" Hé ", "  wörld\n"),
        ("北京?", "Yes <mask> it is</s>"),
    ]
