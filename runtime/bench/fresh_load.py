"""How long a bundle takes to load in a process that has loaded nothing before; as a script, it is that process."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diptych.runtime import ports
from diptych.runtime.bundle import Bundle
from diptych.runtime.errors import OptionError
from diptych.runtime.memory_limit import resident
from diptych.runtime.providers import SessionSettings, settings_for
from diptych.runtime.tasks import task_of


def fresh_load(folder: Path, settings: SessionSettings) -> dict[str, Any] | None:
    """One load: `seconds` that it takes, `process_seconds` from a process's start to its end, `memory_bytes` after it.

    None where Python cannot start itself once more, or the bundle cannot be loaded: who opens it next says why.
    """
    told = {"provider": settings.provider, "threads": settings.threads, "strict_provider": settings.strict}
    told["provider_options"] = dict(settings.options)
    started = time.perf_counter()
    try:
        finished = subprocess.run(  # noqa: S603
            [sys.executable, "-m", __name__, str(folder), json.dumps(told)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
        found: dict[str, Any] = json.loads(finished.stdout)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None
    return found | {"process_seconds": time.perf_counter() - started}


def _load(folder: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    started = time.perf_counter()
    bundle, settings = Bundle.open(folder), settings_for(**told)
    readable = ports.TOKENIZER_FILE in bundle.manifest.files
    loaded = task_of(bundle).open(bundle, settings) if readable else bundle.sessions(settings)
    seconds = time.perf_counter() - started
    try:
        memory = resident()
    except OptionError:
        memory = None
    del loaded
    return {"seconds": seconds, "memory_bytes": memory}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_load(Path(sys.argv[1]), json.loads(sys.argv[2]))))
