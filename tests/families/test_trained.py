"""Trained models, one of each kind: what they say is varied, depends on what came before, and ends by itself."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from families import training
from families.case import EOS, GENERATE, SEARCHES, Case
from families.comparing import SHAPES, generated, outputs, relative_error
from families.decoder_cases import LLAMA
from families.encoder_cases import BERT
from families.pair_cases import BART
from families.training import VOCAB
from families.twins import CLOSE, ENGINES, TOLERANCES, Engine, Record, Twins, make_reference

PROMPTS, NEW_TOKENS = 24, 20
WIDE = {"vocab_size": VOCAB, "num_hidden_layers": 1, "hidden_size": 48, "intermediate_size": 96}
READER = BERT | WIDE | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
TRANSLATOR = BART | {
    "vocab_size": VOCAB,
    "d_model": 48,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
    "forced_eos_token_id": None,
    "dropout": 0.0,
    "attention_dropout": 0.0,
}


@dataclass(frozen=True)
class Lesson:
    """loss: what remains afterwards, at most; of the languages it is not zero, since there is chance in them."""

    case: Case
    draw: Callable[[int, torch.Generator], training.Batch]
    loss: float

    def __str__(self) -> str:
        return str(self.case)


READING = Lesson(Case("bert", "fill", "BertForMaskedLM", READER, "trained"), training.hidden_words, 0.4)
WRITING = Lesson(Case("llama", GENERATE, "LlamaForCausalLM", LLAMA | WIDE, "trained"), training.dialects, 1.3)
ANSWERING = Lesson(
    Case("bart", GENERATE, "BartForConditionalGeneration", TRANSLATOR, "trained"), training.successions, 0.9
)


@pytest.fixture(scope="module")
def learn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Lesson], Twins]:
    learned: dict[str, Twins] = {}

    def trained(lesson: Lesson) -> Twins:
        if str(lesson) not in learned:
            torch.manual_seed(0)
            reference = make_reference(lesson.case, seed=None)
            assert training.train(reference, lesson.draw, steps=300) <= lesson.loss
            folder = tmp_path_factory.mktemp("trained") / "checkpoint"
            reference.save_pretrained(folder)
            learned[str(lesson)] = Twins(reference, folder)
        return learned[str(lesson)]

    return trained


def unseen(lesson: Lesson) -> list[list[int]]:
    """Texts that were not trained on; of one that is to be continued the beginning."""
    inputs, _ = lesson.draw(PROMPTS, torch.Generator().manual_seed(1))
    rows = [row[mask != 0].tolist() for row, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)]
    if lesson is WRITING:
        rows = [row[: 2 + place % 6] for place, row in enumerate(rows)]
        rows = [row[: row.index(EOS) - 1] if EOS in row else row for row in rows]
    return rows


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("lesson", [READING, WRITING, ANSWERING], ids=str)
def test_outputs_are_those_of_transformers(
    lesson: Lesson, engine: Engine, learn: Callable[[Lesson], Twins], record: Record
) -> None:
    twins = learn(lesson)
    for rows, length, side in SHAPES:
        for port, (ours, theirs) in outputs(twins, engine, rows, length, side).items():
            assert relative_error(ours, theirs) <= TOLERANCES[engine], (port, rows, length, side)
    record(lesson.case, engine, CLOSE[engine])


@pytest.mark.parametrize(("beams", "search"), SEARCHES)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("lesson", [WRITING, ANSWERING], ids=str)
def test_generated_ids_are_those_of_transformers(
    lesson: Lesson, engine: Engine, beams: int, search: str, learn: Callable[[Lesson], Twins], record: Record
) -> None:
    twins, prompts = learn(lesson), unseen(lesson)
    ours, theirs = generated(twins, engine, prompts, num_beams=beams, max_new_tokens=NEW_TOKENS)
    assert ours == theirs
    assert len({token for ids in ours for token in ids}) >= VOCAB // 2
    assert len({len(ids) for ids in ours}) >= 6
    assert sum(ids[-1] == EOS for ids in ours) >= 0.9 * PROMPTS
    if beams > 1:
        likeliest, _ = generated(twins, engine, prompts, max_new_tokens=NEW_TOKENS)
        assert sum(one != other for one, other in zip(ours, likeliest, strict=True)) >= 3
    record(lesson.case, engine, search)


@pytest.mark.parametrize("engine", ENGINES)
def test_hidden_words_are_found_as_by_transformers(
    engine: Engine, learn: Callable[[Lesson], Twins], record: Record
) -> None:
    twins = learn(READING)
    inputs, words = READING.draw(10 * PROMPTS, torch.Generator().manual_seed(1))
    hidden = words != training.IGNORED
    feeds = {**inputs, "token_type_ids": torch.zeros_like(words)}
    found = twins.model(engine).run({name: value.numpy() for name, value in feeds.items()})["logits"]
    with torch.no_grad():
        expected = twins.reference(**feeds).logits
    ours, theirs = torch.from_numpy(found).argmax(-1)[hidden], expected.argmax(-1)[hidden]
    assert torch.equal(ours, theirs)
    # A word all of whose places are hidden cannot be known.
    assert (ours == words[hidden]).float().mean() >= 0.85
    assert len(ours.unique()) >= VOCAB // 2
    record(READING.case, engine, "likeliest words")
