"""The tokens that keep a text within a grammar, and no others."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from diptych.runtime.errors import EngineError, InputError, OptionError
from diptych.runtime.generation.history import History
from diptych.runtime.generation.token_bytes import TokenBytes
from diptych.runtime.graph import Array

# States of texts that were asked about lately: so many, and so many more for each row.
_KEPT, _KEPT_PER_ROW = 64, 4
_SHOWN = 60
_TAIL = 8  # More than the longest text whose spaces are taken out.


@dataclass(frozen=True)
class _Place:
    """Where a text stands in the grammar.

    matcher: None where the text left it. spaced: the one to follow if a text, of which there is nothing yet, begins
    with a space that decoding takes out. tail: the last bytes. ended: by an EOS.
    """

    matcher: Any
    spaced: Any = None
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
        """name: the option. begin: a new matcher, at the beginning of a text; or of a space before it, if told so.

        alone: each row has to go on, no other replaces it. opening: a token without text that comes before every text.
        others: options that forbid tokens, too.
        """
        self._name = name
        self._begin = begin
        self._spelled = spelled
        self._eos = np.array(eos, dtype=np.int64)
        self._ending = frozenset(eos)
        self._alone = alone
        self._opening = opening
        self._others = others
        self._places: OrderedDict[tuple[bool, bytes], _Place] = OrderedDict()

    def __call__(self, history: History, scores: Array) -> None:
        """Raises OptionError where nothing is left to say, EngineError where llguidance gives up."""
        whole = history.sources.shape[1] > 0
        starts = history.ids.shape[1] - history.lengths + (1 if whole else history.given)
        texts = [history.ids[row, start:] for row, start in enumerate(starts)]
        places = [self._place(whole, ids) for ids in texts]
        allowed = np.zeros(scores.shape, dtype=bool)
        for row, place in enumerate(places):
            allowed[row] = self._allowed(place)
        if self._opening is not None:
            allowed[history.lengths == 1, self._opening] = True
        np.copyto(scores, -np.inf, where=~allowed)
        if self._alone:
            for stuck in np.flatnonzero(scores.max(axis=1) == -np.inf):
                if places[stuck].matcher is not None:
                    raise self._stuck(whole, texts[stuck], allowed[stuck])
        while len(self._places) > _KEPT + _KEPT_PER_ROW * len(history):
            self._places.popitem(last=False)

    def check_beginning(self, ids: Sequence[int]) -> None:
        """Raises InputError if a result is to begin with what no text of the grammar begins with."""
        given = np.array(ids, dtype=np.int64)
        if self._place(True, given).matcher is None:
            raise InputError(f"nothing that begins with {self._text(given)!r} obeys {self._name}")

    def _place(self, whole: bool, ids: Array) -> _Place:
        """Where a text of these ids stands."""
        known = len(ids)
        while (place := self._places.get((whole, ids[:known].tobytes()))) is None and known:
            known -= 1
        place = place or self._start(whole)
        for token in ids[known:]:
            place = self._after(place, int(token))
        key = whole, ids.tobytes()
        self._places[key] = place
        self._places.move_to_end(key)
        return place

    def _start(self, whole: bool) -> _Place:
        return _Place(self._begin(False), self._begin(True) if whole and self._spelled.leading_space else None)

    def _after(self, place: _Place, token: int) -> _Place:
        """One token on. Tokens without text, of a language say, leave a text where it was."""
        if token in self._ending:
            return replace(place, ended=True)
        text = self._spelled.tokens[token]
        if place.matcher is None or place.ended or not text:
            return place
        has_space = place.spaced is not None and text.startswith(b" ")
        matcher = (place.spaced if has_space else place.matcher).deep_copy()
        if not matcher.try_consume_tokens([token]):
            self._goes_on(matcher)
            return _Place(None)
        return _Place(matcher, tail=(place.tail + text)[-_TAIL:])

    def _allowed(self, place: _Place) -> Array:
        """[V], bool"""
        allowed = np.zeros(len(self._spelled.tokens), dtype=bool)
        if place.matcher is None:
            return allowed
        ends = place.ended
        if not place.ended:
            bits = self._bits(place.matcher)
            allowed[:], ends = bits[:-1], bits[-1]
            if place.spaced is not None:
                np.copyto(allowed, self._bits(place.spaced)[:-1], where=self._spelled.has_space)
            allowed &= self._spelled.has_text
            for before, tokens in self._spelled.joints:
                if place.tail.endswith(before):
                    allowed[tokens] = False
        allowed[self._eos] = ends
        return allowed

    def _bits(self, matcher: Any) -> Array:
        """[V + 1], bool: the tokens that may follow, and last whether the text may end."""
        count = len(self._spelled.tokens) + 1
        bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8), count=count, bitorder="little")
        # Where nothing can follow, llguidance offers the end although the text is not complete.
        return bits.view(bool) if self._goes_on(matcher) else np.zeros(count, dtype=bool)

    def _goes_on(self, matcher: Any) -> bool:
        """Whether the text can go on. Raises EngineError if llguidance gave up."""
        if matcher.is_error() and "NoExtensionBias" not in matcher.get_error():
            raise EngineError(f"{self._name}: llguidance gave up ({shortened(matcher.get_error())}); simplify it")
        return not matcher.is_error()

    def _stuck(self, whole: bool, ids: Array, allowed: Array) -> OptionError:
        text = self._text(ids)
        where = f"after {text!r}" if text else "at the beginning"
        if allowed.any():
            others = ", ".join(self._others) or "another option"
            return OptionError(f"what {self._name} allows {where}, {others} forbids; leave one of them out")
        place = self._start(whole)
        for token in ids:
            place = self._after(place, int(token))
        forced = place.matcher.compute_ff_bytes().decode(errors="replace")[:_SHOWN]
        wanted = repr(forced) if forced else "something"
        return OptionError(
            f"{self._name} cannot be obeyed: {where} comes {wanted}, which this bundle's vocabulary cannot spell"
        )

    def _text(self, ids: Array) -> str:
        return b"".join(self._spelled.tokens[token] for token in ids).decode(errors="replace")[-_SHOWN:]


def shortened(message: str) -> str:
    """What an error of llguidance says first, and what a regular expression's parser does."""
    first, *rest = message.strip().splitlines() or [""]
    return " ".join([first, *(line for line in rest if line.startswith("error:"))])[:300]
