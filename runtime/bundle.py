"""A bundle on disk: its manifest, checked files, and the decoder that its graphs make."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from diptych.runtime import ports
from diptych.runtime.decoder import CachedDecoder
from diptych.runtime.errors import BundleError
from diptych.runtime.graph import Graph, OrtGraph
from diptych.runtime.manifest import Manifest
from diptych.runtime.providers import SessionSettings, first_working


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

    def decoder(self, settings: SessionSettings) -> CachedDecoder:
        """Sessions over an encoder's and a decoder's graph, or over one graph that is a decoder alone."""
        if ports.DECODER_FILE not in self.manifest.files:
            return CachedDecoder(None, self.model(settings))
        return first_working(settings, self._pair)

    def model(self, settings: SessionSettings) -> Graph:
        """A session over the graph of a model that is one."""
        return OrtGraph(self.folder / ports.MODEL_FILE, settings)

    def _pair(self, settings: SessionSettings) -> CachedDecoder:
        """Both on the same provider."""
        encoder, decoder = (OrtGraph(self.folder / name, settings) for name in (ports.ENCODER_FILE, ports.DECODER_FILE))
        return CachedDecoder(encoder, decoder)

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


def file_digest(path: Path) -> str:
    """SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(path: Path, digest: str) -> str | None:
    if not path.is_file():
        return f"{path}: missing"
    return None if file_digest(path) == digest else f"{path}: its SHA-256 is not the manifest's; damaged or altered"
