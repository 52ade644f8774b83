"""Texts to compare on where the user gives none: short and long, in several scripts, as lines that `run` would read."""

from diptych.runtime.manifest import Manifest

_LONG = (
    "Residual connections carry the input of every layer to its output, where both are added and then normalised, "
    "so that gradients find a way through however many layers there are, and training remains stable."
)
_TEXTS = (
    "Thank you.",
    "How are you today?",
    "The quick brown fox jumps over the lazy dog.",
    "In 1986, about 3.5 million people (12%) lived there; by 2020 it was twice that.",
    "«C'est la vie», dit-elle — puis elle s'en alla.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "Съешь ещё этих мягких французских булок.",
    "東京は日本の首都です。",
    "مرحبا بالعالم",
    "It's 5 o'clock 🙂, isn't it?",
    _LONG,
)
_PAIRS = (
    "Where do they live?\tMy parents live in Lyon, and my sister lives in Oslo.",
    "Who wrote it?\tThe paper was written by eight people, and published in June 2017.",
    "What is the capital of Japan?\tTokyo (東京) is the capital of Japan; Kyoto was it before 1868.",
)
_BLANKS = ("Paris is the {mask} of France.", "She opened the {mask} and went in.", "{mask} is a number.")


def sample_lines(manifest: Manifest, mask: str | None) -> list[str]:
    """For the task of a bundle; mask: how its tokenizer writes the word to be filled in."""
    match manifest.task:
        case "answer":
            return list(_PAIRS)
        case "fill":
            return [text.format(mask=mask) for text in _BLANKS]
        case _:
            return list(_TEXTS)
