"""Every family in every form that is compared with transformers."""

from families.case import Case
from families.decoder_cases import DECODERS
from families.encoder_cases import ENCODERS
from families.pair_cases import PAIRS

CASES: list[Case] = [*ENCODERS, *DECODERS, *PAIRS]
# Of each family one that reads or writes a vocabulary.
USUAL: dict[str, Case] = {case.family: case for case in reversed(CASES) if case.task not in ("embed", "answer")}
USUAL |= {case.family: case for case in reversed(CASES) if case.task == "fill"}
