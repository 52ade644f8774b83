"""Whatever the input is and however it is cut, each line gets its result, and a bad one keeps its place."""

import errno
import io
import json
import os
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from jobs import JOB, run

from diptych.runtime.corpus.errors import ReadError
from diptych.runtime.corpus.lines import (
    CHUNK_BYTES,
    LONGEST_LINE,
    ArgumentReader,
    Chunk,
    Line,
    LineReader,
    Reader,
    chunks,
)
from diptych.runtime.corpus.output import DirectOutput
from diptych.runtime.corpus.pace import Pace
from diptych.runtime.corpus.rows import format_of, row_reader, row_writer
from diptych.runtime.errors import InputError
from diptych.runtime.tasks.answer import Answerer
from diptych.runtime.tasks.classify import Classifier
from diptych.runtime.tasks.embed import Embedder
from diptych.runtime.tasks.generate import TextGenerator
from diptych.runtime.tasks.similarity import Similarity


def read(content: bytes, first: int = 2, most: int = 8) -> list[Chunk]:
    return list(chunks(LineReader(io.BytesIO(content), "input"), first, most))


def lines(content: bytes, **sizes: int) -> list[Line]:
    return [line for chunk in read(content, **sizes) for line in chunk.lines]


def texts(content: bytes) -> list[str]:
    return [line if isinstance(line, str) else "BAD" for line in lines(content)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\n\nb", ["a", "", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\rb\n", ["a\rb"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
        (b"\xef\xbb\xbf", [""]),
        ("a\u2028b\u0085c\x0bd\n".encode(), ["a\u2028b\u0085c\x0bd"]),
        (b"a\0b\n", ["a\0b"]),
        (b"ok\n\xff\nok\xc3\n", ["ok", "BAD", "BAD"]),
        ("\ufeffa\n".encode("utf-16-le"), ["BAD", "\0"]),
        ("😀\n".encode(), ["😀"]),
    ],
)
def test_lines_are_what_stands_between_their_ends(content: bytes, expected: list[str]) -> None:
    assert texts(content) == expected


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\nnext"])
def test_a_line_may_have_a_mebibyte_and_no_more(end: bytes) -> None:
    rest = ["next"] if end.endswith(b"next") else []
    assert texts(b"x" * LONGEST_LINE + end) == ["x" * LONGEST_LINE, *rest]
    for size in (LONGEST_LINE + 1, LONGEST_LINE + 2, LONGEST_LINE + 3, 3 * LONGEST_LINE):
        assert texts(b"x" * size + end) == ["BAD", *rest]
    (bad, *_) = lines(b"x" * (LONGEST_LINE + 1) + end)
    assert "longer than 1,048,576 bytes" in str(bad)


class OneLine(io.BytesIO):
    """A line of 64 MiB, of which only what is asked for is made."""

    left = 64 << 20

    def readline(self, size: int | None = -1) -> bytes:
        assert size
        taken = min(size, self.left)
        self.left -= taken
        return b"x" * taken


def test_a_line_is_never_held_whole() -> None:
    tracemalloc.start()
    (chunk,) = chunks(LineReader(OneLine(), "input"))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(chunk.lines[0], InputError)
    assert chunk.size == 64 << 20
    assert most < 8 << 20


def test_chunks_depend_on_the_input_alone() -> None:
    content = b"".join(b"%d\n" % number for number in range(100))
    found = read(content)
    assert [len(chunk.lines) for chunk in found] == [2, 4, *[8] * 11, 6]
    assert sum(chunk.size for chunk in found) == len(content)
    assert read(content) == found
    assert len({chunk.digest for chunk in found}) == len(found)


def test_a_chunk_ends_where_it_has_many_bytes() -> None:
    line = b"x" * 99_999 + b"\n"
    assert [len(chunk.lines) for chunk in read(line * 8, first=1000, most=1000)] == [3, 3, 2]
    assert 2 * len(line) < CHUNK_BYTES < 3 * len(line)


def test_a_pipe_that_pauses_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file, os.fdopen(writing, "wb", buffering=0) as pipe:
        found = chunks(LineReader(file, "pipe"), 1, 1)
        for text in (b"a\n", b"b", b"c\n", b"d"):
            pipe.write(text)
            if text == b"a\n":
                assert next(found).lines == ["a"], "before more is there"
        pipe.close()
        assert [chunk.lines for chunk in found] == [["bc"], ["d"]]


class Damaged(io.BytesIO):
    def readline(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().readline(size)


def test_an_input_that_fails_is_told_by_its_name() -> None:
    found = chunks(LineReader(Damaged(b"a\nb\n"), "texts.txt"), 1, 1)
    assert next(found).lines == ["a"]
    with pytest.raises(ReadError, match=r"texts\.txt: Input/output error"):
        next(found)


def test_arguments_are_lines_whatever_is_in_them() -> None:
    given = ["a", "", "b\nc", "\udcff", "\ufeffd"]
    found = list(chunks(ArgumentReader(given), 2, 2))
    assert [chunk.lines for chunk in found] == [["a", ""], ["b\nc", "\udcff"], ["\ufeffd"]]
    assert len({chunk.digest for chunk in found}) == 3
    assert ArgumentReader(given).total == sum(chunk.size for chunk in found)


def outcome(reader: Reader, first: int, most: int) -> tuple[bytes, int]:
    file = io.BytesIO()
    bad = JOB.run(chunks(reader, first, most), DirectOutput(file, "output"), Pace(None, lambda done, told: None))
    return file.getvalue(), bad


def test_chunks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)
    draw = random.Random(5)
    choices = [b"one", b"", b"zwei \xc3\xa9", b"\xff", "😀".encode(), b"a\tb", b"x" * 3000, b"y" * (LONGEST_LINE + 5)]
    for case in range(40):
        rows = draw.choices(choices, weights=[9, 2, 9, 1, 9, 3, 3, 0.05], k=draw.randrange(60))
        content = b"\n".join(rows)
        whole = rows if rows[-1:] != [b""] else rows[:-1]
        each = [outcome(LineReader(io.BytesIO(row + b"\n"), ""), 1, 1) for row in whole]
        expected = b"".join(result for result, _ in each), sum(bad for _, bad in each)
        first = draw.randrange(1, 9)
        assert outcome(LineReader(io.BytesIO(content), ""), first, first * draw.randrange(1, 5)) == expected
        assert run(tmp_path / f"{case}.txt", content) == expected[1]
        assert (tmp_path / f"{case}.txt").read_bytes() == expected[0]


def test_bad_lines_are_told_by_their_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(LineReader(io.BytesIO(b"a\n\nb\n\xff\n\n"), ""), 2, 2) == (b"A!\n\nB!\n\n\n", 3)
    told = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in told] == ["line 2", "line 4", "line 5"]


def test_the_number_of_the_first_text_is_passed_on() -> None:
    seen: list[int] = []

    def attempt(found: list[Any], first: int) -> list[Any]:
        seen.append(first)
        return found

    job = type(JOB)(JOB.read, attempt, JOB.write)
    content = b"a\nb\nc\nd\ne\nf\ng\n"
    job.run(read(content), DirectOutput(io.BytesIO(), "output"), Pace(None, lambda done, told: None))
    assert seen == [0, 2, 6]


def test_a_bad_line_keeps_its_place_among_the_texts() -> None:
    """What is sampled depends on a text's number."""
    seen: list[list[str]] = []

    def attempt(found: list[Any], first: int) -> list[Any]:
        seen.append([type(one).__name__ for one in found])
        return found

    job = type(JOB)(JOB.read, attempt, JOB.write)
    bad = job.run(read(b"a\n\xff\nb\n"), DirectOutput(io.BytesIO(), "output"), Pace(None, lambda done, told: None))
    assert (bad, seen) == (1, [["str", "InputError"], ["str"]])


def rows(kind: type[Any], *found: str) -> list[Any]:
    """What a task of this kind makes of lines of JSON; of a bad one, its error."""
    read_row = row_reader(kind.__new__(kind), "jsonl")
    return [str(row) if isinstance(row := read_row(line), InputError) else row for line in found]


def test_a_row_is_a_string_or_an_object() -> None:
    assert rows(Embedder, '"a\\tb"', ' {"text": "a\\nb"} ', '{"text": ""}') == ["a\tb", "a\nb", ""]
    assert rows(Classifier, '"a\\tb"', '{"text": "a"}', '{"second": "b", "text": "a"}') == ["a\tb", "a", ("a", "b")]
    assert rows(Classifier, '{"text": "a", "second": null}') == ["a"]
    for kind in (Answerer, Similarity):
        assert rows(kind, '{"text": "a", "second": "b"}') == [("a", "b")]


def test_a_generated_text_may_have_a_beginning() -> None:
    plain, begun = rows(TextGenerator, '"a"', '{"text": "a", "target_prefix": "b"}')
    assert plain != begun


BAD_ROWS = [
    ("", "empty"),
    ("text", "not JSON: Expecting value (column 1)"),
    ('{"text": "a"', "not JSON"),
    ('{"text": "a"} {"text": "b"}', "not JSON: Extra data (column 15)"),
    ("{'text': 'a'}", "not JSON"),
    ("5", "expected text in an object, found 5"),
    ("null", "expected text in an object, found None"),
    ('["a"]', "expected text in an object, found ['a']"),
    ("{}", "expected text, found no text"),
    ('{"text": 5}', "text is 5, expected a text"),
    ('{"text": null}', "text is None, expected a text"),
    ('{"text": "a", "txt": "b"}', "unknown key 'txt'; known are text"),
    ('{"text": "a", "text": "b"}', "'text' is there twice"),
    ('{"text": "a", "id": {"b": 1, "b": 2}}', "'b' is there twice"),
    ("[" * 100_000, "not a row of text"),
    ('{"text": ' + "9" * 5000 + "}", "not a row of text"),
]


@pytest.mark.parametrize(("row", "told"), BAD_ROWS, ids=[told for _, told in BAD_ROWS])
def test_a_bad_row_is_told(row: str, told: str) -> None:
    (found,) = rows(Embedder, row)
    assert told in found
    assert len(found) < 200


def test_pairs_need_two_texts() -> None:
    for kind in (Answerer, Similarity):
        assert rows(kind, '"a"', '{"text": "a"}') == ["expected text and second, found no second"] * 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.jsonl", "jsonl"), ("a.NDJSON", "jsonl"), ("a.json", "text"), ("a.txt", "text"), ("jsonl", "text")],
)
def test_the_name_tells_the_format(name: str, expected: str) -> None:
    assert format_of(Path(name)) == expected
    assert format_of(None) == "text"


class Echo:
    def to_line(self, result: str) -> str:
        return result

    def to_json(self, result: str) -> dict[str, str]:
        return {"text": result}


def test_a_result_is_one_line() -> None:
    plain, as_json = (row_writer(Echo(), as_json=as_json) for as_json in (False, True))  # type: ignore[arg-type]
    assert plain("a\r\nb\té") == "a\\r\\nb\té\n".encode()
    assert plain("\ud800") == b"?\n"
    assert json.loads(as_json("a\r\nb\té")) == {"text": "a\r\nb\té"}
    assert (plain(InputError("too long")), as_json(InputError("too long"))) == (b"\n", b'{"error": "too long"}\n')


def test_pace_counts_what_this_run_did() -> None:
    now = iter([0.0, 100.0, 104.0, 112.0, 112.0])
    shown: list[tuple[int, str]] = []
    pace = Pace(1000, lambda done, told: shown.append((done, told)), clock=lambda: next(now))
    pace.skip(50, 200)
    pace.work(10, 100)
    pace.work(2000, 700)
    assert shown == [(200, "50 lines"), (300, "60 lines, 2.5 lines/s, 0:00:28 left"),
        (1000, "2,060 lines, 168 lines/s, 0:00:00 left")]  # fmt: skip
    assert pace.seconds == 12.0
    unknown = Pace(None, lambda done, told: shown.append((done, told)), clock=lambda: 0.0)
    unknown.work(1, 1)
    assert "left" not in shown[-1][1]
