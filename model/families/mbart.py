"""mBART and mBART-50 (Liu et al. 2020; Tang et al. 2020): BART with norms before each branch and after each stack."""

from diptych.model.families._bart_layout import Layout

LAYOUT = Layout("translate", pre_norm=True, embedding_norm=True, positions="learned")

tasks = LAYOUT.tasks
architecture = LAYOUT.architecture
rules = LAYOUT.rules
