"""Verify a bundle: against the checkpoint it came from, in PyTorch, or against another bundle."""

import json
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from tokenizers import Tokenizer

from diptych.export.errors import ExportError
from diptych.export.facts import facts_of
from diptych.export.graphs import graphs
from diptych.export.parity.as_portable import AsPortable
from diptych.export.parity.bisection.points import OnnxWatched, TorchWatched
from diptych.export.parity.bisection.tuned import TunedWatched
from diptych.export.parity.compared import Compared
from diptych.export.parity.gate import Gate
from diptych.export.parity.levels.weights import compare_with_bundle, compare_with_network
from diptych.export.parity.reduced import ReducedNetwork
from diptych.export.parity.report import Report
from diptych.export.parity.sides import Engines, Sides, sessions, whole_engines
from diptych.export.source import Source, read_source
from diptych.export.torch_graph import Context
from diptych.model.checkpoint import read_architecture
from diptych.model.networks import EncoderDecoder
from diptych.runtime import ports
from diptych.runtime.bundle import Bundle
from diptych.runtime.errors import BundleError
from diptych.runtime.manifest import Manifest
from diptych.runtime.providers import SessionSettings, provider_names, settings_for


def verify_bundle(
    bundle: Path | str,
    *,
    checkpoint: Path | str | None = None,
    against: Path | str | None = None,
    config: Path | str | None = None,
    texts: Sequence[str] | None = None,
    bisect: bool = False,
    provider: str | Sequence[str] = "cpu",
    threads: int = 0,
    settings: SessionSettings | None = None,
    ignored_keys: Collection[str] = (),
    keep: bool = True,
    announce: Callable[[str], None] = lambda stage: None,
) -> Report:
    """Prove that a bundle computes what `checkpoint` does in PyTorch, or what the bundle `against` does on the CPU.

    config: a file that stands for the checkpoint's config.json, as it did in the export. texts: lines as `diptych run`
    reads them, to compare answers on; else texts that come along. bisect: find the first module at fault, if there is a
    fault; all of it in sessions that spare memory. provider, threads: of the sessions under test; settings:
    in their place, all that can be said of these. ignored_keys: of the
    checkpoint's configuration. keep: write the bundle's `verification.json` anew after a comparison with a checkpoint.
    announce: told the name of each stage as it begins.

    Raises BundleError if a file or a tensor is not what the manifest says, ExportError or CheckpointError (ValueErrors)
    if the other side cannot be read, ProviderError; what the comparison itself finds is in the report.
    """
    if (checkpoint is None) == (against is None):
        raise ExportError("a bundle is verified against a checkpoint or against another bundle: give one of them")
    settings = replace(settings or settings_for(provider, threads=threads), lean=bisect)
    provider_names(settings.provider)
    announce("checking digests")
    opened = Bundle.open(bundle)
    opened.check_weights()
    if checkpoint is not None:
        announce("reading the checkpoint")
        folder = Path(checkpoint)
        source = read_source(folder, opened.manifest.task, Path(config) if config else _config(opened), ignored_keys)
        compared = with_checkpoint(opened, source, facts_of(source, ignored_keys), settings)
    else:
        other = Bundle.open(Path(str(against)))
        other.check_weights()
        compared = with_bundle(opened, other, settings)
    gate = Gate(compared, "full", announce)
    report = gate.run(texts)
    if bisect:
        gate.bisect()
    if keep and checkpoint is not None:
        write_verification(opened.folder, report)
    return report


def write_verification(folder: Path, report: Report) -> None:
    """Keep the report in the bundle, whole or not at all; without its times, so that two exports are the same."""
    path = folder / ports.VERIFICATION_FILE
    partial = path.with_suffix(".partial")
    try:
        partial.write_text(json.dumps(report.as_json(timed=False), indent=1, sort_keys=True) + "\n", encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _config(bundle: Bundle) -> Path | None:
    """The bundle's own copy, where a file of another name stood for the checkpoint's config.json."""
    return None if "config.json" in bundle.manifest.source else bundle.folder / "config.json"


def with_checkpoint(bundle: Bundle, source: Source, facts: Manifest, settings: SessionSettings) -> Compared:
    """The bundle's graphs against the network, in float64 and float32; facts: what its manifest should say.

    Raises ExportError if the network would have other graphs.
    """
    subject = sessions(bundle, settings)
    network = source.loaded.network
    attention = isinstance(network, EncoderDecoder) and _has_attention(subject)
    reduced = None if bundle.manifest.precision.name == "fp32" else ReducedNetwork(network, bundle)
    rounding: dict[str, Context] = dict.fromkeys(("truth", "own", "shaken"), nullcontext)
    if reduced is not None:
        rounding = {"truth": reduced.truth, "own": reduced.own, "shaken": reduced.shaken}
    specs = graphs(reduced.network if reduced else network, source.loaded.task, with_attention=attention)
    ours = {file: (set(graph.inputs), set(graph.outputs)) for file, graph in subject.items()}
    theirs = {spec.file: ({port.name for port in spec.inputs}, {port.name for port in spec.outputs}) for spec in specs}
    if ours != theirs:
        raise ExportError(
            f"{source.loaded.folder} is another kind of model, or of other sizes: its graphs would have other inputs "
            f"and outputs than those of {bundle.folder}; there is nothing to compare"
        )
    expected = []
    if source.tokenizers is not None:
        expected.append((ports.TOKENIZER_FILE, source.tokenizers.source))
        if source.tokenizers.target is not None:
            expected.append((ports.TARGET_TOKENIZER_FILE, source.tokenizers.target))
    by_file = {spec.file: spec for spec in specs}
    return Compared(
        bundle=bundle,
        sides=Sides.with_network(subject, specs, reduced),
        spec=network.spec,
        reference="checkpoint",
        provider=settings.provider,
        manifest=facts,
        weights=lambda: compare_with_network(bundle, network),
        tokenizers=expected,
        whole=None if reduced is None else lambda: whole_engines(graphs(network, source.loaded.task)),
        watched=lambda file, kind: (
            watched(bundle, file, subject, settings),
            TorchWatched(by_file[file], True, rounding["truth"]),
            TorchWatched(by_file[file], False, rounding[kind]),
        ),
    )


def watched(
    bundle: Bundle, file: str, engines: Engines, settings: SessionSettings, *, optimized: bool = True
) -> OnnxWatched:
    """A graph in which values between modules can be seen; engines: the bundle's, as they are compared."""
    kind = TunedWatched if isinstance(engines[file], AsPortable) else OnnxWatched
    return kind(bundle.folder / file, settings, optimized)


def _has_attention(engines: Engines) -> bool:
    return any(ports.CROSS_ATTENTIONS in graph.outputs for graph in engines.values())


def with_bundle(bundle: Bundle, other: Bundle, settings: SessionSettings) -> Compared:
    """The bundle's graphs against another's, which run on the CPU. Raises BundleError if they are not of one kind."""
    if bundle.graphs != other.graphs or bundle.manifest.task != other.manifest.task:
        raise BundleError(
            f"{bundle.folder} is made to {bundle.manifest.task} ({', '.join(bundle.graphs)}), {other.folder} to "
            f"{other.manifest.task} ({', '.join(other.graphs)}); there is nothing to compare"
        )
    ours, theirs = bundle.manifest.precision.name, other.manifest.precision.name
    if ours != theirs:
        raise BundleError(
            f"{bundle.folder} is in {ours}, {other.folder} in {theirs}: they differ on purpose; verify each against "
            "the checkpoint"
        )
    ours, theirs = bundle.manifest.target, other.manifest.target
    if ours != theirs:
        raise BundleError(
            f"{bundle.folder} is made for {ours}, {other.folder} for {theirs}: their kernels round in other ways; "
            "verify each against the checkpoint"
        )
    names = [name for name in ports.TOKENIZER_FILES if name in other.manifest.files]
    plain = SessionSettings(threads=settings.threads, lean=settings.lean)
    sides = Sides.with_bundle(sessions(bundle, settings), other, plain)
    if _has_attention(sides.subject) != _has_attention(sides.truth):
        one, none = (bundle, other) if _has_attention(sides.subject) else (other, bundle)
        raise BundleError(
            f"{one.folder} puts out {ports.CROSS_ATTENTIONS}, {none.folder} does not; export both or neither with it"
        )
    return Compared(
        bundle=bundle,
        sides=sides,
        spec=read_architecture(bundle.folder / "config.json", bundle.manifest.task),
        reference="bundle",
        provider=settings.provider,
        manifest=other.manifest,
        weights=lambda: compare_with_bundle(bundle, other),
        tokenizers=[(name, Tokenizer.from_file(str(other.folder / name))) for name in names],
        watched=lambda file, kind: (
            watched(bundle, file, sides.subject, settings),
            watched(other, file, sides.truth, plain),
            watched(other, file, sides.truth, plain, optimized=False),
        ),
    )
