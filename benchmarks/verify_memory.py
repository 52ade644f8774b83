"""How much memory does `diptych verify --bisect` need, for a model of 200 million parameters?

    python benchmarks/verify_memory.py [FOLDER]

Makes an encoder-decoder of random weights in FOLDER (default build/verify-memory, about 1.7 GB), exports it, spoils one
matrix of its bundle, and verifies that against the checkpoint in a process of its own, whose memory is watched:
anonymous memory (RssAnon), which is its private memory; mapped files, which the system can drop, are not part of it.
"""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from diptych.export import export_checkpoint
from diptych.model import architecture as arch
from diptych.model.networks import make_network
from diptych.model.records import read

WIDTH, LAYERS, VOCABULARY = 1024, 6, 32_000
ATTENTION = {"heads": 16, "head_dim": 64}
LAYER = {
    "attention": ATTENTION,
    "feed_forward": {"width": 4096, "activation": "gelu"},
    "norm": "LayerNorm",
    "norm_place": "input",
}
EMBEDDING = {"vocab_size": VOCABULARY, "positions": {"type": "Learned", "count": 512}}
STACK = {"width": WIDTH, "embedding": EMBEDDING, "final_norm": "LayerNorm"}
ARCHITECTURE = {
    "type": "EncoderDecoder",
    "encoder": STACK | {"layers": {"count": LAYERS, "of": LAYER}},
    "decoder": STACK | {"layers": {"count": LAYERS, "of": LAYER | {"cross_attention": ATTENTION}}},
    "head": {"tied": True},
    "shared_embedding": True,
}
SPOILT = "decoder.layers.3.feed_forward.up.weight"
_EVERY = 0.01  # seconds between looks at the memory


def make_checkpoint(folder: Path) -> None:
    """Weights in the size that training starts with."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = {"pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    config = {"model_type": "diptych", "linear_layout": "in_out", "architecture": ARCHITECTURE, **tokens}
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(1)
    network = make_network(read(arch.Architecture, ARCHITECTURE, "architecture"))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "norm" in name:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
            else:
                parameter.normal_(std=0.02)
    save_file(dict(network.named_parameters()), folder / "model.safetensors")


def spoil(bundle: Path) -> None:
    """Double one matrix, and make the digests true again."""
    manifest = json.loads((bundle / "diptych.json").read_text())
    entry = manifest["tensors"][SPOILT]
    weights = np.memmap(bundle / "weights.data", np.float32, "r+", entry["offset"], tuple(entry["shape"]))
    weights *= 2
    weights.flush()
    entry["sha256"] = hashlib.sha256(np.ascontiguousarray(weights).tobytes()).hexdigest()
    (bundle / "diptych.json").write_text(json.dumps(manifest))


def watched(command: list[str]) -> tuple[str, int]:
    """What a command prints, and the most anonymous memory it had, in bytes."""
    most = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            for line in status.read_text().splitlines():
                if line.startswith("RssAnon:"):
                    most = max(most, 1024 * int(line.split()[1]))
            time.sleep(_EVERY)
        assert process.stdout is not None
        return process.stdout.read(), most


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/verify-memory")
    checkpoint, bundle = folder / "checkpoint", folder / "bundle"
    if not (checkpoint / "model.safetensors").is_file():
        make_checkpoint(checkpoint)
    export_checkpoint(checkpoint, bundle, force=True, verify=False)
    spoil(bundle)
    size = 4 * sum(
        int(np.prod(entry["shape"])) for entry in json.loads((bundle / "diptych.json").read_text())["tensors"].values()
    )
    program = [sys.executable, "-c", "from diptych.runtime.command import main; main()"]
    _, start = watched([sys.executable, "-c", "import diptych.export.parity.command"])
    told, most = watched([*program, "verify", str(bundle), "--checkpoint", str(checkpoint), "--bisect"])
    print(told)
    print(f"parameters in float32: {size / 1e6:,.0f} MB; libraries alone: {start / 1e6:,.0f} MB")
    print(f"peak private memory of verify --bisect: {most / 1e6:,.0f} MB, {most / size:.2f} times the parameters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
