"""What is read while it is measured: ids drawn from a bundle's vocabulary, or texts of a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diptych.runtime import ports
from diptych.runtime.bundle import Bundle
from diptych.runtime.corpus.lines import chunks
from diptych.runtime.corpus.rows import format_of, row_reader
from diptych.runtime.corpus.streams import opened_input
from diptych.runtime.errors import BundleError, InputError
from diptych.runtime.tasks import Task
from diptych.runtime.tokenizer import Tokenizer

_SEED = 0


def random_rows(bundle: Bundle, rows: int, length: int) -> list[list[int]]:
    """Ids of so many texts, the same each time, none of them special. Raises BundleError if all tokens are special."""
    ordinary = sorted(set(range(bundle.manifest.source_vocabulary)) - _special(bundle))
    if not ordinary:
        raise BundleError(f"{bundle.folder}: every token of the vocabulary is special; give --texts")
    drawn = np.random.default_rng(_SEED).choice(np.array(ordinary, dtype=np.int64), (rows, length))
    return [row.tolist() for row in drawn]


def read_rows(path: Path, task: Task[Any, Any]) -> list[Any]:
    """What the lines of a file say to a task; JSON lines if its name says so.

    Raises InputError for a file without lines, and for the first line that the task cannot take.
    """
    read, rows = row_reader(task, format_of(path)), []
    with opened_input((), path) as reader:
        for chunk in chunks(reader):
            rows += [read(line) for line in chunk.lines]
    if not rows:
        raise InputError(f"{path}: no lines; expected a text a line")
    check_rows(path, rows)
    return rows


def check_rows(path: Path, results: Sequence[Any]) -> None:
    """Raises InputError for the first of the rows, or their results, that is one."""
    for number, result in enumerate(results, start=1):
        if isinstance(result, InputError):
            raise InputError(f"{path}, line {number}: {result}; take the line out") from result


def _special(bundle: Bundle) -> set[int | None]:
    tokens, languages = bundle.manifest.tokens, bundle.manifest.languages
    named = {tokens.pad, *tokens.eos, tokens.decoder_start, tokens.unknown, tokens.mask}
    codes = set() if languages is None else set(languages.codes.values())
    if ports.TOKENIZER_FILE not in bundle.manifest.files:
        return named | codes
    added = Tokenizer(bundle.folder / ports.TOKENIZER_FILE).description()["added_tokens"]
    return named | codes | {token["id"] for token in added if token["special"]}
