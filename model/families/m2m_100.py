"""M2M100 and NLLB (Fan et al. 2020; NLLB Team 2022): many languages, positions that count what is not padding."""

from diptych.model.families._bart_layout import Layout

LAYOUT = Layout("translate", pre_norm=True, embedding_norm=False, positions="halves_inclusive")

tasks = LAYOUT.tasks
architecture = LAYOUT.architecture
rules = LAYOUT.rules
