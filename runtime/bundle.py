"""A bundle on disk: its manifest, checked files, and the decoder that its graphs make."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from diptych.runtime import library_code, ports
from diptych.runtime.decoder import CachedDecoder
from diptych.runtime.errors import BundleError, ProviderError
from diptych.runtime.graph import Graph, OrtGraph
from diptych.runtime.grouped import GroupedDecoder
from diptych.runtime.in_place import InPlaceDecoder
from diptych.runtime.manifest import CPU_TARGET, Manifest
from diptych.runtime.providers import CPU, SessionSettings, first_working, short_name

BundleDecoder = CachedDecoder | InPlaceDecoder | GroupedDecoder


@dataclass(frozen=True)
class Bundle:
    folder: Path
    manifest: Manifest

    @staticmethod
    def open(folder: Path | str) -> "Bundle":
        """Read the manifest and check every file's digest, of the weights only the size.

        Raises BundleNotFoundError (a FileNotFoundError) or BundleError (a ValueError), naming the file.
        """
        folder = Path(folder)
        manifest = Manifest.read(folder)
        problems = [problem for name, digest in manifest.files.items() if (problem := _check(folder / name, digest))]
        known = {*ports.GRAPH_FILES, *ports.TOKENIZER_FILES} - manifest.files.keys()
        problems += [f"{folder / name}: not in the manifest" for name in sorted(known) if (folder / name).exists()]
        weights = folder / ports.WEIGHTS_FILE
        size = weights.stat().st_size if weights.is_file() else None
        if size is None:
            problems.append(f"{weights}: missing")
        elif size != manifest.weights_size:
            problems.append(f"{weights}: {size} bytes, expected {manifest.weights_size}; truncated or altered")
        if problems:
            raise BundleError("\n".join([*problems, "copy the bundle again, or export it anew"]))
        return Bundle(folder, manifest)

    @property
    def graphs(self) -> list[str]:
        """The files of its graphs."""
        return [name for name in ports.GRAPH_FILES if name in self.manifest.files]

    def sessions(self, settings: SessionSettings, *, optimized: bool = True) -> dict[str, OrtGraph]:
        """A session over each of its graphs, all with the same provider; errors as of `make_session`."""
        tuned = self.manifest.target == CPU_TARGET

        def opened(one: SessionSettings) -> dict[str, OrtGraph]:
            if tuned and one.provider != CPU:
                raise ProviderError(
                    f"{short_name(one.provider)} cannot run {self.folder}: its graphs are made for the CPU; export the "
                    "checkpoint without --target, or leave the provider out"
                )
            settings = replace(one, tuned=tuned)
            return {name: OrtGraph(self.folder / name, settings, optimized=optimized) for name in self.graphs}

        found = first_working(settings, opened)
        library_code.let_go()
        return found

    def decoder(self, settings: SessionSettings) -> BundleDecoder:
        """Sessions over an encoder's and a decoder's graph, or over one graph that is a decoder alone."""
        graphs = self.sessions(settings)
        if ports.DECODER_FILE not in graphs:
            model = self._required(graphs, ports.MODEL_FILE)
            return GroupedDecoder(model) if ports.SEQLENS_K in model.inputs else CachedDecoder(None, model)
        encoder, decoder = self._required(graphs, ports.ENCODER_FILE), graphs[ports.DECODER_FILE]
        tuned = self.manifest.target == CPU_TARGET
        if tuned != (ports.NUM_LOGITS in decoder.inputs):
            raise BundleError(
                f"{decoder.path}: not a graph of the target {self.manifest.target}; export the bundle anew"
            )
        return InPlaceDecoder(encoder, decoder) if tuned else CachedDecoder(encoder, decoder)

    def model(self, settings: SessionSettings) -> Graph:
        """A session over the graph of a model that is one."""
        return self._required(self.sessions(settings), ports.MODEL_FILE)

    def check_weights(self) -> None:
        """Check the digest of every tensor. Raises BundleError, naming the file and each tensor that was altered."""
        path = self.folder / ports.WEIGHTS_FILE
        altered = []
        with path.open("rb") as file:
            for name, entry in self.manifest.tensors.items():
                file.seek(entry.offset)
                if hashlib.sha256(file.read(entry.length)).hexdigest() != entry.sha256:
                    altered.append(f"{path}: the SHA-256 of {name} is not the manifest's; damaged or altered")
        if altered:
            raise BundleError("\n".join([*altered, "copy the bundle again, or export it anew"]))

    def _required(self, graphs: dict[str, OrtGraph], name: str) -> OrtGraph:
        if name not in graphs:
            raise BundleError(
                f"{self.folder}: no {name}, but {', '.join(graphs) or 'no graph'}; export the bundle anew"
            )
        return graphs[name]


def file_digest(path: Path) -> str:
    """SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(path: Path, digest: str) -> str | None:
    if not path.is_file():
        return f"{path}: missing"
    return None if file_digest(path) == digest else f"{path}: its SHA-256 is not the manifest's; damaged or altered"
