"""What a line of input says to a task, and what is told of it in a line of output."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from diptych.runtime.corpus.lines import Line
from diptych.runtime.errors import InputError
from diptych.runtime.tasks import Task

InputFormat = Literal["text", "jsonl"]
_JSON_SUFFIXES = (".jsonl", ".ndjson")


def format_of(path: Path | None) -> InputFormat:
    """JSON lines if the file's name says so."""
    return "jsonl" if path is not None and path.suffix.lower() in _JSON_SUFFIXES else "text"


def row_reader(task: Task[Any, Any], input_format: InputFormat) -> Callable[[Line], Any]:
    """From a line to what the task takes, or an InputError, which is returned and not raised."""

    def read(line: Line) -> Any:
        if isinstance(line, InputError):
            return line
        try:
            return task.from_json(_json(line)) if input_format == "jsonl" else task.from_line(line)
        except InputError as error:
            return error

    return read


def row_writer(task: Task[Any, Any], *, as_json: bool) -> Callable[[Any], bytes]:
    """From a result or an error to a line of UTF-8; line breaks inside become `\\n`.

    An error is an empty line, or, in JSON, an object with an `error`.
    """

    def show(result: Any) -> str:
        if isinstance(result, InputError):
            return json.dumps({"error": str(result)}, ensure_ascii=False) if as_json else ""
        if as_json:
            return json.dumps(task.to_json(result), ensure_ascii=False, allow_nan=False)
        return task.to_line(result)

    def write(result: Any) -> bytes:
        escaped = show(result).replace("\r", "\\r").replace("\n", "\\n")
        return f"{escaped}\n".encode("utf-8", "replace")

    return write


def _json(line: str) -> Any:
    if not line.strip():
        raise InputError("empty; expected a JSON object or string")
    try:
        return json.loads(line, object_pairs_hook=_object)
    except InputError:
        raise
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg} (column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # A number of too many digits; brackets without end.
        raise InputError(f"not a row of text: {error}") from error


def _object(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in values if names.count(name) > 1)
        raise InputError(f"{twice!r:.60} is there twice")
    return values
