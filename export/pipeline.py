"""Checkpoint in, verified bundle out, all or nothing."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from diptych.export.defaults import generation_defaults, special_tokens
from diptych.export.errors import ExportError, TargetExistsError
from diptych.export.graphs import GraphSpec, decoder_graph, encoder_graph
from diptych.export.parity import ParityReport, check_parity
from diptych.export.tokenizer import read_tokenizer
from diptych.export.torch_graph import TorchGraph
from diptych.export.trace import trace
from diptych.export.weights_file import write_models
from diptych.model.checkpoint import Checkpoint, load_checkpoint
from diptych.runtime import ports
from diptych.runtime.bundle import Bundle, file_digest
from diptych.runtime.decoder import CachedDecoder
from diptych.runtime.manifest import Manifest
from diptych.runtime.providers import SessionSettings

TASKS = ("translate",)
_COPIED = ("config.json", "generation_config.json", ports.TOKENIZER_FILE)
_TOOLS = ("diptych", "torch", "onnx", "onnxscript", "onnx-ir")


def export_checkpoint(
    checkpoint: Path | str,
    bundle: Path | str,
    *,
    task: str = "translate",
    force: bool = False,
    verify: bool = True,
    ignored_keys: Collection[str] = (),
    announce: Callable[[str], None] = lambda stage: None,
) -> ParityReport | None:
    """Write the encoder-decoder in the folder `checkpoint` as a bundle, and prove that it computes the same.

    force: replace an earlier bundle. verify: compare with PyTorch; the report is returned, and kept in the bundle.
    ignored_keys: configuration keys to pass over. announce: told the name of each stage as it begins. Nothing is left
    behind, and an earlier bundle is untouched, unless everything succeeded. Raises CheckpointError, TargetExistsError,
    ParityError or ExportError (ValueErrors).
    """
    checkpoint, bundle = Path(checkpoint), Path(bundle)
    bundle = bundle.resolve() if bundle.exists() else bundle.absolute()
    if task not in TASKS:
        raise ExportError(f"task {task!r} is not one of {', '.join(TASKS)}")
    _check_target(bundle, force)
    announce("reading the checkpoint")
    loaded = load_checkpoint(checkpoint, ignored_keys)
    facts = _facts(loaded, task, read_tokenizer(checkpoint), ignored_keys)
    specs = [encoder_graph(loaded.network), decoder_graph(loaded.network)]
    with _staging(bundle) as staging:
        models = []
        for spec in specs:
            announce(f"tracing {spec.file}")
            models.append((spec.file, trace(spec)))
        announce("writing")
        tensors = write_models(models, staging)
        for name in _COPIED:
            if (checkpoint / name).is_file():
                shutil.copyfile(checkpoint / name, staging / name)
        digests = {path.name: file_digest(path) for path in staging.iterdir() if path.name != ports.WEIGHTS_FILE}
        replace(facts, files=digests, tensors=tensors).write(staging)
        report = None
        if verify:
            announce("comparing with PyTorch")
            report = _verify(staging, specs)
            report.raise_if_failed()
        _check_target(bundle, force)
        _move_into_place(staging, bundle)
    return report


def _check_target(bundle: Path, force: bool) -> None:
    if not os.path.lexists(bundle) or (bundle.is_dir() and not any(bundle.iterdir())):
        return
    if not (bundle / ports.MANIFEST_FILE).is_file():
        raise TargetExistsError(f"{bundle} exists and is not a bundle; it is left alone, choose another name")
    if not force:
        raise TargetExistsError(f"{bundle} is a bundle already; replace it with --force, or choose another name")


def _facts(loaded: Checkpoint, task: str, unknown: int | None, ignored: Collection[str]) -> Manifest:
    """The manifest before there are files. Raises ExportError where the checkpoint's options cannot be honoured."""
    encoder, decoder = loaded.network.spec.encoder, loaded.network.spec.decoder
    positions = decoder.embedding.longest
    return Manifest(
        task=task,
        family=loaded.family,
        tokens=special_tokens(loaded, unknown),
        source_vocabulary=encoder.embedding.vocab_size,
        source_positions=encoder.embedding.longest,
        target_positions=positions,
        generation=generation_defaults(loaded, positions, ignored),
        tools={name: metadata.version(name) for name in _TOOLS},
        source={path.name: file_digest(path) for path in loaded.files},
    )


def _verify(staging: Path, specs: list[GraphSpec]) -> ParityReport:
    """Compare the bundle as the runtime opens it with the network it came from."""
    opened = Bundle.open(staging)
    encoder, decoder = (TorchGraph(spec) for spec in specs)
    report = check_parity(CachedDecoder(encoder, decoder), opened.decoder(SessionSettings()), opened.manifest)
    text = json.dumps(report.as_json(), indent=1, sort_keys=True)
    (staging / ports.VERIFICATION_FILE).write_text(text + "\n", encoding="utf-8")
    return report


@contextmanager
def _staging(bundle: Path) -> Iterator[Path]:
    """A folder beside the bundle, so that a rename can move it; gone afterwards, whatever happens."""
    created = [parent for parent in bundle.parents if not parent.exists()]
    bundle.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{bundle.name}.", suffix=".partial", dir=bundle.parent))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        for parent in created:
            if not any(parent.iterdir()):
                parent.rmdir()


def _move_into_place(staging: Path, bundle: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    staging.chmod(0o777 & ~umask)
    earlier = None
    if (bundle / ports.MANIFEST_FILE).is_file():
        earlier = staging.with_suffix(".earlier")
        bundle.rename(earlier)
    try:
        staging.rename(bundle)
    except BaseException:
        if earlier is not None:
            earlier.rename(bundle)
        raise
    if earlier is not None:
        shutil.rmtree(earlier, ignore_errors=True)
