"""BART (Lewis et al. 2019), from the layout that transformers saves."""

from diptych.model.families._bart_layout import Layout

LAYOUT = Layout("generate", pre_norm=False, embedding_norm=True, positions="learned")

tasks = LAYOUT.tasks
architecture = LAYOUT.architecture
rules = LAYOUT.rules
