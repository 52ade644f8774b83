"""The command line as a person meets it, in this process: importing torch takes seconds, and once is enough."""

import io
import json
import sys
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from diptych.runtime.command import main


class Finished(NamedTuple):
    """How a command ended, and the lines it wrote."""

    status: int
    lines: list[str]
    stderr: str


def diptych(*arguments: str | Path, stdin: str = "") -> Finished:
    """`diptych ARGUMENTS`."""
    out, err, given = (io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8") for text in ("", "", stdin))
    status: Any = 0
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        stack.enter_context(patch.object(sys, "stdin", given))
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as ended:
            status = ended.code
    written, told = (stream.buffer.getvalue().decode() for stream in (_flushed(out), _flushed(err)))
    # Not splitlines, which also parts texts at the separators of other scripts.
    return Finished(int(status or 0), written.removesuffix("\n").split("\n") if written else [], told)


def results(bundle: Path, *arguments: str | Path, stdin: str = "") -> list[dict[str, Any]]:
    """The objects that `diptych run BUNDLE --json ARGUMENTS` writes, where nothing is wrong."""
    finished = diptych("run", bundle, "--json", *arguments, stdin=stdin)
    assert (finished.status, finished.stderr) == (0, ""), finished
    return [json.loads(line) for line in finished.lines]


def _flushed(stream: io.TextIOWrapper) -> Any:
    stream.flush()
    return stream
