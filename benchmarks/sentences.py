"""Lines of very different lengths for benchmarks: sentences of the example, some by themselves, some by the dozen."""

import random

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


def lines(count: int, most: int = 10, seed: int = 0) -> list[str]:
    """Of 1 to `most` sentences, fewer being likelier; the same for the same seed."""
    draw = random.Random(seed)  # noqa: S311
    return [" ".join(draw.choices(SENTENCES, k=min(most, 1 + int(draw.expovariate(0.5))))) for _ in range(count)]
