"""What the tests read: scripts, accents, emoji, spaces, and lengths of every kind."""

TEXTS = [
    "Hello!",
    "The café in Zürich is naïve, très naïve.",
    "😀 smiles 👩‍👩‍👧 at  you",
    "東京は日本の首都です。",
    "Two  spaces,   then three, and one at the end ",
    "a",
    "Cafe\u0301 and ﬁne ½ ①, don't stop: it's 3.14!",
    "Привет, мир! Ça va?",
    " the quick brown fox jumps over the lazy dog and runs away from the old town",
    "unbelievably unbelievable",
]

# What tokenizers are trained on: words that come often, so that some are whole and others fall to pieces.
LINES = [
    "The quick brown fox jumps over the lazy dog.",
    "Paris is the capital of France, and Zürich is not the capital of Switzerland.",
    "Le café est très naïve; où est la gare? Ça va bien, merci!",
    "東京は日本の首都です。 京都は古い町です。",
    "Привет, мир! Как дела?",
    "Hello, how are you? Thank you, I am well, and it's 3.14 or 42.",
    "An old town has two or three spaces at the end of the street.",
    "Smiles are free: don't stop running away from the lazy dogs, believe me.",
    "She believes that he is unbelievable, and they were away for the end of the year.",
] * 3
