"""The child process a system lives in, alone with its memory and its threads: JSON lines in, JSON lines out.

Command lines:
python -m harness.worker prepare ADAPTER CHECKPOINT FOLDER [OPTION ...]
python -m harness.worker serve ADAPTER FOLDER THREADS WORKERS
"""

import json
import os
import sys
import time
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from harness.system import adapter


def serve(name: str, folder: Path, shares: list[int], replies: TextIO) -> None:
    kind = adapter(name)
    told: dict[str, Any] = {"versions": {package: version(package) for package in kind.packages}}
    _say(replies, told)
    threads, workers = shares
    model = kind(folder, threads) if workers == 1 else kind(folder, threads, workers)  # type: ignore[call-arg]
    _say(replies, {})
    for line in sys.stdin:
        asked = json.loads(line)
        repeats = asked.pop("repeats")
        try:
            _say(replies, measure(model.work(**asked), repeats))
        except Exception as error:  # noqa: BLE001 - whatever an engine raises, the others go on
            traceback.print_exc()
            _say(replies, {"error": f"{type(error).__name__}: {error}"})


def measure(work: Any, repeats: int) -> dict[str, Any]:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        result = work.run()
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds, "result": work.read(result)}


def _say(replies: TextIO, told: dict[str, Any]) -> None:
    print(json.dumps(told), file=replies, flush=True)


def main() -> None:
    # Engines print where they like; replies keep a channel of their own.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    match sys.argv[1:]:
        case ["prepare", name, checkpoint, folder, *options]:
            adapter(name).prepare(Path(checkpoint), Path(folder), options)
        case ["serve", name, folder, *shares]:
            serve(name, Path(folder), list(map(int, shares)), replies)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
