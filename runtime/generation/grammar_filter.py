"""The tokens that keep a text within a grammar, and no others."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.runtime.errors import EngineError, OptionError
from diptych.runtime.generation.history import PADDING, History
from diptych.runtime.generation.token_bytes import TokenBytes
from diptych.runtime.graph import Array

# States of texts that were asked about lately: so many, and so many more for each row.
_KEPT, _KEPT_PER_ROW = 64, 4
_SHOWN = 60
_TAIL = 8  # More than the longest text whose spaces are taken out.


@dataclass(frozen=True)
class _Place:
    """Where a text stands in the grammar. matcher: None where it left it. tail: the last bytes. ended: by an EOS."""

    matcher: Any
    tail: bytes = b""
    ended: bool = False


class GrammarFilter:
    """Forbids what the grammar does not allow after a row's text; EOS is allowed exactly where the text is complete.

    A row's text is what was generated and, under an encoder, what it was given after the start token. Its state is that
    of its ids, wherever the row stands: the state of the ids before with one token more, or made anew where these were
    not asked about lately.
    """

    def __init__(
        self,
        name: str,
        begin: Callable[[bool], Any],
        spelled: TokenBytes,
        eos: Sequence[int],
        *,
        alone: bool,
        opening: int | None = None,
        others: Sequence[str] = (),
    ) -> None:
        """name: the option. begin: the matcher of an empty text, which may begin with a space if told so.

        alone: each row has to go on, no other replaces it. opening: a token without text that comes before every text.
        others: options that forbid tokens, too.
        """
        self._name = name
        self._begin = begin
        self._spelled = spelled
        self._eos = np.array(eos, dtype=np.int64)
        self._alone = alone
        self._opening = opening
        self._others = others
        self._has_text = np.array([bool(text) for text in spelled.tokens])
        self._joints = _joints(spelled)
        self._places: OrderedDict[tuple[bool, bytes], _Place] = OrderedDict()

    def __call__(self, history: History, scores: Array) -> None:
        """Raises OptionError where nothing is left to say, EngineError where llguidance gives up."""
        whole = history.sources.shape[1] > 0
        starts = history.ids.shape[1] - history.lengths + (1 if whole else history.given)
        allowed = np.zeros(scores.shape, dtype=bool)
        for row, start in enumerate(starts):
            ids = history.ids[row, start:]
            place = self._place(whole, ids)
            allowed[row] = self._allowed(place)
            if self._opening is not None and history.lengths[row] == 1:
                allowed[row, self._opening] = True
            if self._alone and place.matcher is not None and (scores[row, allowed[row]] == -np.inf).all():
                raise self._stuck(whole, ids, allowed[row])
        np.copyto(scores, -np.inf, where=~allowed)
        while len(self._places) > _KEPT + _KEPT_PER_ROW * len(history):
            self._places.popitem(last=False)

    def _place(self, whole: bool, ids: Array) -> _Place:
        """Where a text of these ids stands."""
        assert (ids != PADDING).all()
        known = len(ids)
        while (found := self._places.get((whole, ids[:known].tobytes()))) is None and known:
            known -= 1
        place = found or _Place(self._begin(whole and self._spelled.leading_space))
        for token in ids[known:]:
            place = self._after(place, int(token))
        key = whole, ids.tobytes()
        self._places[key] = place
        self._places.move_to_end(key)
        return place

    def _after(self, place: _Place, token: int) -> _Place:
        """One token on. Tokens without text, of a language say, leave a text where it was."""
        if token in self._eos:
            return _Place(place.matcher, place.tail, ended=True)
        text = self._spelled.tokens[token]
        if place.matcher is None or place.ended or not text:
            return place
        matcher = place.matcher.deep_copy()
        if not matcher.try_consume_tokens([token]):
            self._check(matcher)
            return _Place(None)
        return _Place(matcher, (place.tail + text)[-_TAIL:])

    def _allowed(self, place: _Place) -> Array:
        """[V], bool"""
        if place.matcher is None:
            return np.zeros(len(self._has_text), dtype=bool)
        if place.ended:
            allowed, ends = np.zeros(len(self._has_text), dtype=bool), True
        else:
            # llguidance's own EOS is one beyond the vocabulary.
            bits = np.frombuffer(place.matcher.compute_bitmask(), dtype=np.uint8)
            bits = np.unpackbits(bits, count=len(self._has_text) + 1, bitorder="little").view(bool)
            # Where nothing can follow, llguidance offers its EOS although the text is not complete.
            goes_on = self._check(place.matcher)
            allowed, ends = bits[:-1] & self._has_text & goes_on, bits[-1] & goes_on
            for before, tokens in self._joints:
                if place.tail.endswith(before):
                    allowed[tokens] = False
        allowed[self._eos] = ends
        return allowed

    def _check(self, matcher: Any) -> bool:
        """Whether the text can go on. Raises EngineError if llguidance gave up."""
        if matcher.is_error() and "NoExtensionBias" not in matcher.get_error():
            raise EngineError(f"{self._name}: llguidance gave up ({shortened(matcher.get_error())}); simplify it")
        return not matcher.is_error()

    def _stuck(self, whole: bool, ids: Array, allowed: Array) -> OptionError:
        text = b"".join(self._spelled.tokens[token] for token in ids).decode(errors="replace")
        where = f"after {text[-_SHOWN:]!r}" if text else "at the beginning"
        if allowed.any():
            others = ", ".join(self._others) or "another option"
            return OptionError(f"what {self._name} allows {where}, {others} forbids; leave one of them out")
        matcher = self._begin(whole and self._spelled.leading_space)
        matcher.try_consume_tokens([int(token) for token in ids if self._spelled.tokens[token]])
        wanted = matcher.compute_ff_bytes().decode(errors="replace")[:_SHOWN]
        return OptionError(
            f"{self._name} cannot be obeyed: {where} comes {wanted!r}, which this bundle's vocabulary cannot spell"
        )


def shortened(message: str) -> str:
    """What an error of llguidance says first, and what a regular expression's parser does."""
    first, *rest = message.strip().splitlines() or [""]
    return " ".join([first, *(line for line in rest if line.startswith("error:"))])[:300]


def _joints(spelled: TokenBytes) -> list[tuple[bytes, Array]]:
    """What a text may end with, and the tokens [n] that would make of it something whose spaces are taken out."""
    return [
        (pattern[:cut], np.flatnonzero([text.startswith(pattern[cut:]) for text in spelled.tokens]))
        for pattern in spelled.taken_out
        for cut in range(1, len(pattern))
    ]
