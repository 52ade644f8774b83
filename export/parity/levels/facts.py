"""Before anything runs: does the manifest say of using the bundle what the other side says?"""

import json
from collections.abc import Collection
from dataclasses import asdict

from diptych.export.parity.report import FactsReport
from diptych.runtime import ports
from diptych.runtime.manifest import Manifest

# Of how a bundle was made and how it lies on the disk, which digests check.
_OF_THE_FILES = ("tools", "source", "files", "tensors", "format_version", "target", "precision")


def compare_facts(manifest: Manifest, expected: Manifest, tokenizers: Collection[str]) -> FactsReport:
    """Task, special tokens, positions, generation's defaults, labels, pooling, languages: all must be the same.

    tokenizers: the files of those that there should be.
    """
    # As JSON has them: it knows no tuples.
    ours, theirs = (json.loads(json.dumps(asdict(each))) for each in (manifest, expected))
    ours["tokenizers"] = [name for name in ports.TOKENIZER_FILES if name in manifest.files]
    theirs["tokenizers"] = [name for name in ports.TOKENIZER_FILES if name in tokenizers]
    names = [name for name in ours if name not in _OF_THE_FILES]
    differing = {
        name: f"{ours[name]!r:.200}, expected {theirs[name]!r:.200}" for name in names if ours[name] != theirs[name]
    }
    other_files = [name for name, digest in expected.source.items() if manifest.source.get(name) != digest]
    return FactsReport(len(names), differing, other_files)
