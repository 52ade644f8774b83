"""A grammar's filter, and the tokens of a tokenizer by what they spell."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from grammar_tokenizers import names_of

from diptych.runtime.generation.grammar_filter import GrammarFilter
from diptych.runtime.generation.grammars import make_grammar_filter
from diptych.runtime.generation.history import History
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.tokenizer import Tokenizer

START = 0


class Words:
    """What may follow which tokens, by the names that the vocabulary has for them."""

    def __init__(self, tokenizer: Tokenizer, *, eos: Sequence[str] = ("</s>",), spare: int = 2, **options: Any) -> None:
        names = names_of(tokenizer)
        self.names = names
        self.size = len(names) + spare  # Models often have more logits than tokens.
        self.eos = [names.index(name) for name in eos]
        made = make_grammar_filter(GenerationOptions.from_mapping(options), tokenizer, self.size, self.eos)
        assert made is not None
        self.apply: GrammarFilter = made

    def ids(self, *words: str) -> list[int]:
        return [self.names.index(word) for word in words]

    def history(self, *texts: Sequence[str], sources: bool = False, limit: int = 50) -> History:
        begun = [[(token, 0.0) for token in self.ids(*text)] for text in texts]
        read = [[1, 1]] * len(texts) if sources else None
        return History.start([[START]] * len(texts), [limit] * len(texts), read, begun)

    def allowed(self, history: History) -> list[set[str]]:
        scores = np.random.default_rng(0).normal(size=(len(history), self.size)).astype(np.float32)
        before = scores.copy()
        self.apply(history, scores)
        kept = scores > -np.inf
        np.testing.assert_array_equal(scores[kept], before[kept])
        return [{self.names[token] for token in np.flatnonzero(row)} for row in kept]

    def after(self, *words: str, sources: bool = False) -> set[str]:
        return self.allowed(self.history(words, sources=sources))[0]
