"""Drawn combinations of options, each in our words and in CTranslate2's."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

CHECKPOINT = Path(__file__).parents[2] / "examples" / "eng-fra" / "checkpoint"

Kind = Literal["greedy", "beams", "prefix", "alternatives"]
KINDS: tuple[Kind, ...] = ("greedy", "beams", "beams", "prefix", "alternatives")

SOURCES = (
    "Hi.",
    "Go!",
    "x",
    "Thank you very much.",
    "Where is the train station?",
    "She doesn't want to talk about it.",
    "Où est la gare ?",
    "他喜欢猫。",
    "😀 smile",
    "I've never been so happy in my life!",
    "He asked me if I had seen his sister.",
    "My father bought a new car last week, didn't he?",
    "If it rains tomorrow, we will stay at home.",
    "The old man who lives next door speaks neither English nor French.",
    "I don't think that it will rain, but you should take an umbrella with you anyway, just to be safe.",
    "Tom and Mary have been living in Boston since they were married, and they don't want to move away.",
)
TARGETS = (
    "",
    "Je",
    "Merci",
    "Merci beaucoup.",
    "Elle ne",
    "Où est la",
    "Le père de Tom a acheté une voiture.",
    "Mon frère n'est pas là aujourd'hui, mais il viendra demain.",
    "猫 😀",
)
# CTranslate2 stops early without a length and a coverage penalty; one too small for float32 to see keeps it going.
NEGLIGIBLE = 1e-12
START = 1
# Below one in the vocabulary's 5000: CTranslate2 dies where no alternative is likely enough.
LEAST_PROBABILITY = 1e-4


@dataclass(frozen=True)
class Case:
    """sources, targets: indices of texts; prefixes: how many tokens of each target are given.

    shortest and longest count the tokens after the start token, the prefix among them; shortest leaves out the EOS.
    """

    kind: Kind
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    prefixes: tuple[int, ...]
    beams: int
    returned: int
    length_penalty: float
    patience: float
    coverage: float
    repetition: float
    no_repeat: int
    suppressed: tuple[int, ...]
    shortest: int
    longest: int
    alternatives: int
    least_probability: float
    attention: bool

    def ours(self) -> dict[str, Any]:
        """Options of a call of a `Generator`; filters leave probabilities that add up to one, as in CTranslate2."""
        options: dict[str, Any] = {
            "num_beams": self.beams,
            "max_length": 1 + self.longest,
            "min_length": 1 + self.shortest,
            "repetition_penalty": self.repetition,
            "no_repeat_ngram_size": self.no_repeat,
            "suppress_tokens": self.suppressed,
            "renormalize_logits": True,
            "output_attentions": self.attention,
        }
        if self.beams > 1:
            options |= {"length_penalty": self.length_penalty, "coverage_penalty": self.coverage}
            options |= {"patience": self.patience} if self.patience != 1 else {"early_stopping": True}
        if self.alternatives:
            chosen = {"alternatives": self.alternatives, "min_alternative_expansion_prob": self.least_probability}
            return options | chosen
        return options | {"num_return_sequences": self.returned}

    def theirs(self, tokens: list[str]) -> dict[str, Any]:
        """Options of `translate_batch`. Attention of beams is only right there when sources are decoded one by one."""
        endless = self.beams > 1 and not self.length_penalty and not self.coverage
        return {
            "beam_size": self.beams,
            "num_hypotheses": self.alternatives or self.returned,
            "length_penalty": self.length_penalty if self.beams > 1 else 0.0,
            "patience": self.patience,
            "coverage_penalty": NEGLIGIBLE if endless else self.coverage,
            "repetition_penalty": self.repetition,
            "no_repeat_ngram_size": self.no_repeat,
            "suppress_sequences": [[tokens[token]] for token in self.suppressed],
            "min_decoding_length": self.shortest,
            "max_decoding_length": self.longest,
            "return_alternatives": bool(self.alternatives),
            "min_alternative_expansion_prob": self.least_probability,
            "return_attention": self.attention or self.coverage > 0,
            "return_scores": True,
            "return_end_token": True,
            "max_batch_size": 1 if self.beams > 1 and (self.attention or self.coverage) else 0,
        }


def draw(seed: int, number: int) -> Case:
    """Kinds by turns, everything else by chance, within what both define alike (docs/ctranslate2.md)."""
    chance = random.Random(f"{seed}/{number}")
    kind = KINDS[number % len(KINDS)]
    batch = chance.randint(1, 5)
    beams = 1 if kind == "greedy" else chance.randint(2, 6) if kind == "beams" else chance.choice([1, 2, 3, 4, 5])
    patience = chance.choice([0.5, 1, 1, 1.5, 2, 2.5]) if beams > 1 else 1
    kept = int(beams * patience + 0.5)
    given = kind in ("prefix", "alternatives")
    prefixes = tuple(chance.choice([0, 1, 2, 4, 16]) if given else 0 for _ in range(batch))
    alternatives = chance.choice([1, 2, 3, 8]) if kind == "alternatives" else 0
    filtered = kind != "alternatives"
    repetition = chance.choice([1.0, 1.2]) if kind == "greedy" else 1.0
    suppressed = chance.sample(range(3, 400), chance.choice([0, 0, 5, 40])) if filtered else []
    if repetition != 1:
        suppressed.append(START)  # We count the start token among those that were there, they don't.
    # After a prefix, only the best of their beams may end at once.
    shortest = max(prefixes) + 1 if kind == "prefix" and beams > 1 else chance.choice([0, 1, 5])
    longest = max(prefixes) + chance.choice([1, 6, 12, 24, 40] if given else [6, 12, 24, 40])
    return Case(
        kind=kind,
        sources=tuple(chance.randrange(len(SOURCES)) for _ in range(batch)),
        targets=tuple(chance.randrange(len(TARGETS)) for _ in range(batch)),
        prefixes=prefixes,
        beams=beams,
        returned=chance.randint(1, min(kept, beams)) if beams > 1 and not alternatives else 1,
        length_penalty=0.0 if given else chance.choice([0.0, 0.6, 1.0, 2.0, -0.5]),
        patience=patience,
        coverage=chance.choice([0.0, 0.2, 1.0]) if kind == "beams" else 0.0,
        repetition=repetition,
        no_repeat=chance.choice([0, 0, 2, 3]) if filtered else 0,
        suppressed=tuple(suppressed),
        shortest=shortest,
        longest=max(shortest, longest),
        alternatives=alternatives,
        least_probability=chance.choice([0.0, LEAST_PROBABILITY]) if alternatives else 0.0,
        attention=chance.random() < 0.5 and (not alternatives or beams == 1),
    )
