"""HTML and SVG from nested calls: what is opened is closed, and text never becomes markup."""

from html import escape

from diptych.export.parity.display.words import visible

_WITHOUT_END = {"meta", "wbr"}


class Markup(str):
    """Text that is markup already; all other text is escaped when it enters a tag."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | float) -> Markup:
    """`_` in an attribute's name is `-`, and none at its end: class_="x" stroke_width=2. Floats keep one decimal."""
    head = "".join([name, *(f' {_name(key)}="{_value(value)}"' for key, value in attributes.items())])
    return Markup(f"<{head}>{''.join(map(_text, children))}" + ("" if name in _WITHOUT_END else f"</{name}>"))


def _text(child: str) -> str:
    return child if isinstance(child, Markup) else escape(visible(child))


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _value(value: str | float) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else escape(visible(str(value)))
