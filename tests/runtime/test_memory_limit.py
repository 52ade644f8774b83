"""What runs together under a limit on memory."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from readers import WIDTH, RowGraph, by_token, manifest, states, word_pieces
from replies import Speaker

from diptych.runtime import InputError, OptionError, memory_limit, ports
from diptych.runtime.encoder import Encoder
from diptych.runtime.generation.scoring import Scored
from diptych.runtime.manifest import Pooling
from diptych.runtime.memory_limit import MemoryLimit, Sizes, read_size
from diptych.runtime.tasks.embed import Embedder
from diptych.runtime.tokenizer import Tokenizer

GENEROUS = MemoryLimit(limit=10**12, room=10.0**12, cached=64, crossed=64, scored=1000, states=400)
REPLIES = {letter * length: {letter * 5: 1.0} for length in (1, 3, 9) for letter in "abcdefgh"}
SEARCHES: list[dict[str, Any]] = [{}, {"num_beams": 4}, {"do_sample": True, "num_return_sequences": 3}]


@pytest.mark.parametrize(
    ("text", "size"),
    [(1, 1), (5_000_000_000, 5_000_000_000), ("1", 1), ("2GB", 2 * 10**9), (" 512 mib ", 512 << 20), ("1.5k", None),
     ("1.5KB", 1500), ("0.5 GiB", 1 << 29), ("3M", None), ("700B", 700)],
)  # fmt: skip
def test_sizes(text: str | int, size: int | None) -> None:
    if size is None:
        with pytest.raises(OptionError, match="memory_limit is"):
            read_size(text)
    else:
        assert read_size(text) == size


@pytest.mark.parametrize(
    "wrong",
    ["", "much", "-1", "-5MB", "2TB", "2 GB more", "GB", "0x10", "1e9", "٣٣GBx", "9" * 400, True, None, -4, 2.5j],
)
def test_what_is_no_size_is_told(wrong: Any) -> None:
    with pytest.raises(OptionError, match=r"memory_limit is .*expected a size, such as 2GB"):
        read_size(wrong)


@pytest.mark.parametrize("size", [0, "0", "0GB"])
def test_nothing_is_less_than_the_bundle_needs(size: str | int, tmp_path: Path) -> None:
    (tmp_path / "weights.data").touch()
    with pytest.raises(OptionError, match="memory_limit is"):
        MemoryLimit.of(read_size(size), [], tmp_path / "weights.data")


@pytest.mark.parametrize("more", [{"sources": 3}, {"source": 9}, {"prompt": 9}, {"row": 9}, {"rows_per_source": 3}])
def test_more_costs_more(more: dict[str, int]) -> None:
    few = Sizes(2, source=8, prompt=8, row=8, rows_per_source=2)
    assert GENEROUS.cost(replace(few, **more)) > GENEROUS.cost(few) > 0
    limit = replace(GENEROUS, room=GENEROUS.cost(few))
    assert limit.fits(few)
    assert not limit.fits(replace(few, **more))


def largest(speaker: Speaker) -> int:
    return max(rows for rows, _ in speaker.batches)


@pytest.mark.parametrize("encodes", [True, False])
@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_batches_shrink_and_results_stay(tmp_path: Path, options: dict[str, Any], encodes: bool) -> None:
    free = Speaker(tmp_path, REPLIES, encodes=encodes, max_new_tokens=8)
    expected = free.texts(list(REPLIES), **options)
    assert largest(free) == len(REPLIES)
    length = max(len(free.tokenizer.encode(text)) for text in REPLIES)
    rows = max(options.get("num_beams", 1), options.get("num_return_sequences", 1))
    prompt = 1 if encodes else length
    sizes = Sizes(5, length if encodes else 0, prompt, prompt + 8, rows)
    limit = replace(GENEROUS, room=GENEROUS.cost(sizes))
    tight = Speaker(tmp_path, REPLIES, encodes=encodes, max_new_tokens=8, memory=limit)
    assert tight.texts(list(REPLIES), **options) == expected
    assert largest(tight) < 12
    assert max(rows for rows, _ in tight.decoder.runs) <= 12 * rows
    shapes = [shape for shape in tight.batches if shape[1] >= length]
    assert {count for count, _ in shapes} <= {1, 2, 3, 4, 5}, "of the longest, what fits"


@pytest.mark.parametrize("encodes", [True, False])
def test_a_text_that_does_not_fit_alone_is_refused_by_itself(tmp_path: Path, encodes: bool) -> None:
    options = {"max_new_tokens": 8}
    sizes = Sizes(1, 8 if encodes else 0, 1 if encodes else 8, 9 if encodes else 16)
    memory = replace(GENEROUS, room=GENEROUS.cost(sizes))
    speaker = Speaker(tmp_path, REPLIES, encodes=encodes, memory=memory, **options)
    first, wrong, last = speaker.texts.attempt(["a", "a" * 60, "b"])
    assert isinstance(wrong, InputError)
    assert "needs about " in str(wrong)
    assert "memory_limit is 1,000,000 MB" in str(wrong)
    assert not isinstance(first, InputError)
    assert not isinstance(last, InputError)
    assert (first[0].text, last[0].text) == ("aaaaa", "bbbbb")
    assert largest(speaker) == 1


def test_beams_that_never_fit_are_a_wrong_option(tmp_path: Path) -> None:
    memory = replace(GENEROUS, room=GENEROUS.cost(Sizes(1, 3, 1, 9, rows_per_source=2)))
    speaker = Speaker(tmp_path, REPLIES, memory=memory, max_new_tokens=8)
    assert speaker.texts("a", num_beams=2) == "aaaaa"
    with pytest.raises(OptionError, match=r"even the shortest text needs about .*memory_limit"):
        speaker.texts("a", num_beams=50)
    with pytest.raises(OptionError, match="even the shortest text"):
        speaker.texts.check_options(max_new_tokens=119)


def test_given_targets_have_the_limit_of_what_they_are_read_after(tmp_path: Path) -> None:
    memory = replace(GENEROUS, room=GENEROUS.cost(Sizes(1, 10, 1, 9)))
    speaker = Speaker(tmp_path, REPLIES, memory=memory, max_new_tokens=8)
    speaker.texts.target("a", "b")
    with pytest.raises(InputError, match="memory_limit"):
        speaker.texts.target("a" * 40, "b")


def test_given_targets_are_read_in_batches_that_fit(tmp_path: Path) -> None:
    pairs = [("a" * length, "b" * 12) for length in (1, 3, 9) for _ in range(8)]
    free = Speaker(tmp_path, REPLIES, max_new_tokens=1)
    expected = [scored.token_scores for scored in scores_of(free, pairs)]
    assert largest(free) == len(pairs)
    memory = replace(GENEROUS, room=GENEROUS.cost(Sizes(3, 14, 14, 14)))
    tight = Speaker(tmp_path, REPLIES, max_new_tokens=1, memory=memory)
    assert [scored.token_scores for scored in scores_of(tight, pairs)] == expected
    assert 1 <= largest(tight) <= 3
    assert {length for _, length in tight.decoder.runs} == {1}, "of the longest, the scores after one token at a time"
    with pytest.raises(InputError, match="memory_limit"):
        tight.texts.target("a", "b" * 80)


def scores_of(speaker: Speaker, pairs: list[tuple[str, str]]) -> list[Scored]:
    return speaker.texts.generator.score_requests([speaker.texts.target(*pair) for pair in pairs])


def reader(folder: Path, memory: MemoryLimit | None) -> tuple[Embedder, RowGraph]:
    graph = RowGraph(by_token(ports.LAST_HIDDEN_STATE, states, WIDTH))
    return Embedder(
        Tokenizer(word_pieces(folder)),
        Encoder(graph, manifest("embed", 200, pooling=Pooling("mean", normalize=False)), memory),
    ), graph


def test_texts_that_are_only_read_have_a_limit_too(tmp_path: Path) -> None:
    texts = ["old"] * 8 + ["very old"] * 8 + ["who is very old ?"] * 8
    free, every = reader(tmp_path, None)
    memory = replace(GENEROUS, room=GENEROUS.cost(Sizes(4, 7, 0, 0)))
    tight, few = reader(tmp_path, memory)
    np.testing.assert_allclose(np.array(tight(texts)), np.array(free(texts)), atol=1e-6)
    assert every.runs == [(24, 7)]
    assert len(few.runs) > 3
    assert all(memory.fits(Sizes(rows, length, 0, 0)) for rows, length in few.runs)
    assert max(rows for rows, length in few.runs if length == 7) == 4
    good, wrong = tight.attempt(["old", "very " * 150])
    assert isinstance(wrong, InputError)
    assert "needs about" in str(wrong)
    assert not isinstance(good, InputError)


def graph(inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    made = RowGraph({})
    made.inputs, made.outputs = inputs, outputs
    return made


def test_a_limit_knows_the_graphs(tmp_path: Path) -> None:
    weights = tmp_path / "weights.data"
    weights.write_bytes(b"\0" * 1000)
    past = ("rows", 4, "past", 16)
    encoder = graph({"input_ids": ("b", "s")}, {"last_hidden_state": ("b", "s", 64)})
    decoder = graph(
        {"past_key_values.0.encoder.key": past, "past_key_values.0.decoder.key": past}, {"logits": ("rows", "t", 1000)}
    )
    found = MemoryLimit.of(10**12, [encoder, decoder], weights)
    assert found is not None
    assert (found.cached, found.crossed, found.scored) == (256, 256, 4000)
    assert found.states > 64 * 4
    assert 0 < found.room < 10**12
    only = MemoryLimit.of(10**12, [encoder], weights)
    assert only is not None
    assert (only.cached, only.crossed, only.scored) == (0, 0, 0)
    assert only.states > found.states, "all that it puts out is kept"
    assert MemoryLimit.of(None, [encoder, decoder], weights) is None


def test_a_limit_below_what_is_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "weights.data").write_bytes(b"\0" * 1000)
    with pytest.raises(
        OptionError, match=r"memory_limit is 1 MB, but the loaded bundle alone needs [\d,]+ MB; allow more"
    ):
        MemoryLimit.of(10**6, [], tmp_path / "weights.data")


def test_weights_that_are_not_in_memory_yet_count(tmp_path: Path) -> None:
    weights = tmp_path / "weights.data"
    with weights.open("wb") as file:
        file.truncate(10**9)
    few, many = MemoryLimit.of(10**12, [], Path("/dev/null")), MemoryLimit.of(10**12, [], weights)
    assert few is not None
    assert many is not None
    assert few.room - many.room > 0.7e9


def test_a_system_that_does_not_tell_its_memory_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "weights.data").touch()
    monkeypatch.setattr(memory_limit, "_STATUS", tmp_path / "absent")
    with pytest.raises(OptionError, match="this system does not have; leave it out"):
        MemoryLimit.of(10**12, [], tmp_path / "weights.data")
    monkeypatch.setattr(memory_limit, "_STATUS", tmp_path / "weights.data")
    with pytest.raises(OptionError, match="leave it out"):
        memory_limit.resident()
