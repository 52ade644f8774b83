"""The parent's end of a worker."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Self

from harness.environments import InstallError, python_of
from harness.folders import BENCHMARKS, ROOT
from harness.load import resident
from harness.system import System

# Workers import systems from here, and the example's converter from the tests.
_IMPORTS = os.pathsep.join(str(folder) for folder in (BENCHMARKS, ROOT / "tests"))


class WorkerError(RuntimeError):
    """A system could not do what it was asked for; the message says which one and where its output is."""


class Worker:
    """A process with one loaded model. Its own output goes to a log file."""

    def __init__(self, system: System, model: Path, threads: int, log: Path) -> None:
        self.system = system
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*_program(system), "serve", system.adapter, str(model), *map(str, system.shared(threads))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                env=_environment(system.shared(threads)[0]),
            )
        self.pid = self._process.pid
        self.versions: dict[str, str] = self._reply()["versions"]
        self.libraries = resident(self.pid)
        self._reply()
        self.loaded = resident(self.pid)

    def run(self, asked: dict[str, Any], repeats: int = 1) -> dict[str, Any]:
        """Seconds of each repetition and the last one's result. Raises WorkerError if it fails or ends."""
        assert self._process.stdin is not None
        try:
            print(json.dumps({**asked, "repeats": repeats}), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._ended() from None
        return self._reply()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _reply(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        told = json.loads(line)
        if "error" in told:
            raise WorkerError(f"{self.system.name}: {told['error']} (see {self.log})")
        return told

    def _ended(self) -> WorkerError:
        status = self._process.wait()
        return WorkerError(f"{self.system.name}: its process ended with status {status}; see {self.log}")


def prepare(system: System, checkpoint: Path, folder: Path, log: Path, threads: int) -> None:
    """Have the system write the checkpoint in its own format. Raises WorkerError if that fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [*_program(system), "prepare", system.adapter, str(checkpoint), str(folder), *system.options]
    with log.open("ab") as output:
        done = subprocess.run(command, stdout=output, stderr=output, check=False, env=_environment(threads))
    if done.returncode:
        raise WorkerError(f"{system.name} could not take the checkpoint {checkpoint}: see {log}")


def _program(system: System) -> list[str]:
    try:
        python = python_of(system.environment)
    except InstallError as error:
        raise WorkerError(f"{system.name}: {error}") from None
    return [str(python), "-m", "harness.worker"]


def _environment(threads: int) -> dict[str, str]:
    """Every library's pool has as many threads; nothing is fetched."""
    pools = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    offline = dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"), "1")
    return {**os.environ, **pools, **offline, "PYTHONPATH": _IMPORTS, "TOKENIZERS_PARALLELISM": "false"}
