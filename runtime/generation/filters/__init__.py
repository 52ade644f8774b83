"""Filters edit the scores [R, V] of the next token in place; each is one option of `transformers` generation.

They work on logits under greedy search and sampling and on log-probabilities under beam search, in transformers' order.
Those that are `Foreseeable` can tell before a step what they will do, so that the best tokens of each row suffice.
"""

from collections.abc import Sequence

from diptych.runtime.errors import OptionError
from diptych.runtime.generation.filters.filter import Filter
from diptych.runtime.generation.filters.forcing import Forbid, Force, is_first, is_first_free, is_last, is_too_short
from diptych.runtime.generation.filters.foresight import Effect, Foresight
from diptych.runtime.generation.filters.ngrams import EncoderNoRepeatNgram, NoRepeatNgram
from diptych.runtime.generation.filters.normalising import remove_invalid_values, renormalize
from diptych.runtime.generation.filters.penalties import (
    encoder_repetition_penalty,
    exponential_decay_length_penalty,
    repetition_penalty,
)
from diptych.runtime.generation.filters.sampling import sampling_filters
from diptych.runtime.generation.filters.sequences import BadWords, sequence_bias
from diptych.runtime.generation.options import GenerationOptions

__all__ = ["Effect", "Filter", "Forbid", "Foresight", "make_filters"]


def make_filters(
    options: GenerationOptions, eos: Sequence[int], vocab_size: int, extra: Sequence[Filter] = ()
) -> list[Filter]:
    """The filters that `options` ask for, and `extra` ones, which come before those of sampling.

    Raises OptionError for an id outside the vocabulary.
    """
    _check_vocabulary(options, vocab_size)
    # Some checkpoints name an end that their vocabulary lacks; it never comes.
    ends = [token for token in eos if token < vocab_size]
    filters = [*_of_sequences(options, ends, vocab_size), *_of_places(options, ends), *extra]
    if options.do_sample:
        # Beams must be able to go on: beside every end, one token that is none.
        least = max(len(eos), 1) + 1 if options.num_beams > 1 else 1
        filters += sampling_filters(options, least)
    if options.renormalize_logits:
        filters.append(renormalize)
    return filters


def _of_sequences(options: GenerationOptions, eos: Sequence[int], vocab_size: int) -> list[Filter]:
    filters: list[Filter] = []
    if options.sequence_bias:
        filters.append(sequence_bias(dict(options.sequence_bias)))
    if options.encoder_repetition_penalty != 1.0:
        filters.append(encoder_repetition_penalty(options.encoder_repetition_penalty))
    if options.repetition_penalty != 1.0:
        filters.append(repetition_penalty(options.repetition_penalty))
    if options.no_repeat_ngram_size:
        filters.append(NoRepeatNgram(options.no_repeat_ngram_size, vocab_size))
    if options.encoder_no_repeat_ngram_size:
        filters.append(EncoderNoRepeatNgram(options.encoder_no_repeat_ngram_size, vocab_size))
    words = [word for word in options.bad_words_ids if not (len(word) == 1 and word[0] in eos)]
    if words:
        filters.append(BadWords(words))
    return filters


def _of_places(options: GenerationOptions, eos: Sequence[int]) -> list[Filter]:
    filters: list[Filter] = []
    too_short = is_too_short(options)
    if too_short is not None and eos:
        filters.append(Forbid(eos, too_short))
    if options.forced_bos_token_id is not None:
        filters.append(Force([options.forced_bos_token_id], is_first))
    if options.forced_eos_token_id and not options.constrained:  # An EOS says that a text obeys its grammar.
        filters.append(Force(options.forced_eos_token_id, is_last))
    if options.remove_invalid_values:
        filters.append(remove_invalid_values)
    if options.exponential_decay_length_penalty is not None and eos:
        filters.append(exponential_decay_length_penalty(*options.exponential_decay_length_penalty, eos))
    if options.suppress_tokens:
        filters.append(Forbid(options.suppress_tokens))
    if options.begin_suppress_tokens:
        is_free = is_first_free(options.forced_bos_token_id is not None)
        filters.append(Forbid(options.begin_suppress_tokens, is_free))
    return filters


def _check_vocabulary(options: GenerationOptions, vocab_size: int) -> None:
    groups = {
        "sequence_bias": [token for tokens, _ in options.sequence_bias for token in tokens],
        "bad_words_ids": [token for word in options.bad_words_ids for token in word],
        "forced_bos_token_id": [] if options.forced_bos_token_id is None else [options.forced_bos_token_id],
        "forced_eos_token_id": options.forced_eos_token_id,
        "suppress_tokens": options.suppress_tokens,
        "begin_suppress_tokens": options.begin_suppress_tokens,
        "eos_token_id": options.eos_token_id or (),
    }
    for name, tokens in groups.items():
        outside = list(dict.fromkeys(token for token in tokens if token >= vocab_size))
        if outside:
            shown = ", ".join(map(str, outside[:5])) + (", …" if len(outside) > 5 else "")
            raise OptionError(
                f"{name} has {shown}, outside the vocabulary of {vocab_size} tokens; expected ids below {vocab_size}"
            )
