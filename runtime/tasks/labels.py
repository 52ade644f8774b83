"""The labels of a bundle that has them."""

from diptych.runtime import ports
from diptych.runtime.encoder import Encoder
from diptych.runtime.errors import BundleError
from diptych.runtime.manifest import Labels


def labels_of(encoder: Encoder) -> Labels:
    """Raises BundleError if there are none, or not as many as logits."""
    labels, width = encoder.manifest.labels, encoder.graph.outputs[ports.LOGITS][-1]
    if labels is None:
        raise BundleError("the manifest names no labels; export the bundle again")
    if width != len(labels.names):
        raise BundleError(f"the manifest names {len(labels.names)} labels, the graph has {width}; export again")
    return labels
