"""Checkpoint in, verified bundle out, all or nothing."""

import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from diptych.export.errors import ExportError, ParityError, TargetExistsError
from diptych.export.facts import facts_of
from diptych.export.graphs import graphs
from diptych.export.packing import pack
from diptych.export.parity.gate import Gate
from diptych.export.parity.report import Report, told
from diptych.export.parity.verify import with_checkpoint, write_verification
from diptych.export.precision.apply import Wanted, Workshop, apply
from diptych.export.precision.reduce import Models
from diptych.export.source import Source, read_source
from diptych.export.tokenizers import Tokenizers
from diptych.export.trace import trace
from diptych.export.weights_file import write_models
from diptych.model.tasks import TASKS
from diptych.runtime import ports
from diptych.runtime.bundle import Bundle, file_digest
from diptych.runtime.manifest import Manifest
from diptych.runtime.providers import SessionSettings

_COPIED = ("config.json", "generation_config.json")


def export_checkpoint(
    checkpoint: Path | str,
    bundle: Path | str,
    *,
    task: str | None = None,
    config: Path | str | None = None,
    force: bool = False,
    verify: bool = True,
    target: str = "portable",
    with_attention: bool = False,
    precision: str = "fp32",
    quality: float | None = None,
    texts: Sequence[str] | None = None,
    ignored_keys: Collection[str] = (),
    announce: Callable[[str], None] = lambda stage: None,
) -> Report | None:
    """Write the model in the folder `checkpoint` as a bundle, and prove that it computes the same.

    task: what the bundle is for, one of `diptych.model.tasks.TASKS`; else what the checkpoint was made for. config: a
    file that stands for the folder's `config.json`. force: replace an earlier bundle. verify: compare with PyTorch; the
    report is returned, and kept in the bundle. target: what the graphs are made for, one of
    `diptych.runtime.manifest.TARGETS`. with_attention: an encoder-decoder's decoder puts out its
    cross-attention, too. precision: fp32, fp16, int8 or int4. quality: the least share of predictions that must stay
    the same; layers are kept in more bits until they do. texts: lines to measure that on, each with a tab and the
    expected text after it, or without. ignored_keys: configuration keys to pass over. announce: told the name of each
    stage as it begins. Nothing is left behind, and an earlier bundle is untouched, unless everything succeeded.
    Raises CheckpointError, TargetExistsError, ParityError, ExportError or OptionError (ValueErrors).
    """
    checkpoint, bundle = Path(checkpoint), Path(bundle)
    config = None if config is None else Path(config)
    bundle = bundle.resolve() if bundle.exists() else bundle.absolute()
    if task is not None and task not in TASKS:
        raise ExportError(f"task {task!r} is not one of {', '.join(TASKS)}")
    _check_target(bundle, force)
    wanted = Wanted(precision, quality, texts)
    wanted.check(target)
    announce("reading the checkpoint")
    source = read_source(checkpoint, task, config, ignored_keys)
    facts = facts_of(source, ignored_keys)
    specs = graphs(source.loaded.network, source.loaded.task, target=target, with_attention=with_attention)
    with _staging(bundle) as staging:
        models = []
        for spec in specs:
            announce(f"tracing {spec.file}")
            models.append((spec.file, trace(spec)))
        write = partial(_write, source=source, facts=facts, config=config)
        workshop = Workshop(lambda: models if target == "portable" else _portable(source), write, staging, announce)
        facts = replace(facts, target=target, precision=apply(models, wanted, workshop))
        for _, model in models:
            pack(model.graph)
        announce("writing")
        _write(models, staging, source, facts, config)
        report = None
        if verify:
            announce("comparing with PyTorch")
            report = _verify(staging, source, facts)
        _check_target(bundle, force)
        _move_into_place(staging, bundle)
    return report


def _portable(source: Source) -> Models:
    """Whatever a bundle's graphs are made for, its weights are those of these."""
    return [(spec.file, trace(spec)) for spec in graphs(source.loaded.network, source.loaded.task)]


def _check_target(bundle: Path, force: bool) -> None:
    if not os.path.lexists(bundle) or (bundle.is_dir() and not any(bundle.iterdir())):
        return
    if not (bundle / ports.MANIFEST_FILE).is_file():
        raise TargetExistsError(f"{bundle} exists and is not a bundle; it is left alone, choose another name")
    if not force:
        raise TargetExistsError(f"{bundle} is a bundle already; replace it with --force, or choose another name")


def _write(models: Models, folder: Path, source: Source, facts: Manifest, config: Path | None) -> Bundle:
    """The bundle of these graphs, in an empty folder."""
    tensors = write_models(models, folder)
    for name in _COPIED:
        if (source.folder / name).is_file():
            shutil.copyfile(source.folder / name, folder / name)
    if config is not None:
        shutil.copyfile(config, folder / "config.json")
    if source.tokenizers is not None:
        _write_tokenizers(source.tokenizers, source.folder, folder)
    digests = {path.name: file_digest(path) for path in folder.iterdir() if path.name != ports.WEIGHTS_FILE}
    replace(facts, files=digests, tensors=tensors).write(folder)
    return Bundle.open(folder)


def _write_tokenizers(tokenizers: Tokenizers, source: Path, staging: Path) -> None:
    """A tokenizer.json is copied byte for byte; what was put together from other files is written as one."""
    if tokenizers.converted:
        tokenizers.source.save(str(staging / ports.TOKENIZER_FILE))
    else:
        shutil.copyfile(source / ports.TOKENIZER_FILE, staging / ports.TOKENIZER_FILE)
    if tokenizers.target is not None:
        tokenizers.target.save(str(staging / ports.TARGET_TOKENIZER_FILE))


def _verify(staging: Path, source: Source, facts: Manifest) -> Report:
    """Compare the bundle as the runtime opens it with the network it came from. Raises ParityError."""
    gate = Gate(with_checkpoint(Bundle.open(staging), source, facts, SessionSettings()), "quick")
    report = gate.run()
    if not report.passed:
        gate.bisect()
        raise ParityError(f"the graphs do not compute what PyTorch computes:\n{told(report)}")
    write_verification(staging, report)
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
