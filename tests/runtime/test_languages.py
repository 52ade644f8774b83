"""Where the tokens of languages go."""

import pytest

from diptych.runtime.errors import OptionError
from diptych.runtime.languages import Languages

CODES = {"eng": 10, "fra": 11, "deu": 12}
EOS = 2
MARIAN = Languages(CODES, None, "source")
FIRST = Languages(CODES, "first", "forced_bos", "eng", "fra")
LAST = Languages(CODES, "last", "start", "eng")


@pytest.mark.parametrize(
    ("languages", "content", "source", "target", "expected"),
    [
        (FIRST, [5, 6], None, None, [10, 5, 6, EOS]),
        (FIRST, [5, 6], "deu", None, [12, 5, 6, EOS]),
        (LAST, [5, 6], "deu", "fra", [5, 6, EOS, 12]),
        (MARIAN, [5, 6], None, None, [5, 6, EOS]),
        (MARIAN, [5, 6], None, "fra", [11, 5, 6, EOS]),
        (MARIAN, [12, 5], None, None, [12, 5, EOS]),
        (MARIAN, [12, 5], None, "fra", [11, 5, EOS]),
    ],
)
def test_a_source_is_framed_as_its_family_does(
    languages: Languages, content: list[int], source: str | None, target: str | None, expected: list[int]
) -> None:
    assert languages.frame(content, EOS, source, target) == expected


@pytest.mark.parametrize(
    ("languages", "target", "told", "expected"),
    [
        (FIRST, None, False, {"forced_bos_token_id": 11}),
        (FIRST, "deu", False, {"forced_bos_token_id": 12}),
        (FIRST, None, True, {}),
        (FIRST, "deu", True, {"forced_bos_token_id": 12}),
        (LAST, "fra", False, {"decoder_start_token_id": 11}),
        (LAST, None, False, {}),
        (MARIAN, "fra", False, {}),
    ],
)
def test_the_decoder_is_told_the_target(
    languages: Languages, target: str | None, told: bool, expected: dict[str, int]
) -> None:
    assert languages.options(target, told) == expected


def test_an_unknown_language_is_named_with_a_near_one() -> None:
    with pytest.raises(OptionError, match=r"'frq' .* did you mean 'fra'"):
        FIRST.frame([5], EOS, None, "frq")
    with pytest.raises(OptionError, match="not told the language of its source"):
        MARIAN.frame([5], EOS, "eng", None)
