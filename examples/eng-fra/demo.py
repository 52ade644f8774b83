"""Translate a few sentences with the exported bundle: `python demo.py BUNDLE`. Needs no PyTorch."""

import sys

from rich.console import Console
from rich.table import Table

from diptych.runtime import load

SENTENCES = (
    "I am hungry.",
    "Thank you very much.",
    "Where is the train station?",
    "She doesn't want to talk about it.",
    "What time does the movie start?",
    "If it rains tomorrow, we will stay at home.",
    "He asked me if I had seen his sister.",
    "I've never been so happy in my life!",
    "Can you help me find my keys?",
    "My father bought a new car last week.",
)


def main() -> None:
    translate = load(sys.argv[1])
    greedy = translate(SENTENCES, num_beams=1)
    beams = translate(SENTENCES, num_beams=4)
    table = Table(
        "English", "French, greedy", "French, beam 4", title="Translated by ONNX Runtime", title_justify="left"
    )
    for row in zip(SENTENCES, greedy, beams, strict=True):
        table.add_row(*row)
    Console(highlight=False, markup=False).print(table)


if __name__ == "__main__":
    main()
