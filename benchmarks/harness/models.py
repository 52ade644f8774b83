"""Checkpoints in each system's own format, made once and kept."""

import hashlib
import shutil
import sys
from pathlib import Path

from harness.folders import LOGS, MODELS, ROOT
from harness.processes import WorkerError, prepare
from harness.system import System


def prepared(
    systems: list[System], size: str, checkpoint: Path, threads: int
) -> tuple[dict[System, Path], dict[str, str]]:
    """Each system's model of a size, and why those failed that have none. A bundle that was given is taken as it is."""
    models, failed = {}, {}
    for system in systems:
        folder = system.bundle or MODELS / size / f"{system.model}{_edition(system)}"
        if not folder.exists():
            print(f"{system.name}: preparing {size}", file=sys.stderr)
            unfinished = folder.with_name(f"{folder.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            try:
                prepare(system, checkpoint, unfinished, LOGS / f"{system.name}.log", threads)
            except WorkerError as error:
                print(error, file=sys.stderr)
                failed[system.name] = str(error)
                continue
            unfinished.rename(folder)
        models[system] = folder
    return models, failed


def _edition(system: System) -> str:
    """Bundles are made again when what makes them has changed."""
    if not system.ours:
        return ""
    digest = hashlib.sha256()
    for file in sorted(file for package in ("model", "export") for file in (ROOT / package).rglob("*.py")):
        digest.update(file.read_bytes())
    return f"-{digest.hexdigest()[:8]}"
