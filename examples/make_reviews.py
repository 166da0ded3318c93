"""Generates a small text data set: restaurant reviews as word indices, and some of them as text.

    python examples/make_reviews.py [FOLDER]        (default: examples/data)

Writes reviews_train.npz (1,200 reviews) and reviews_test.npz (300), each with
    words   (n, 24) uint8, the index of each word in VOCABULARY; shorter texts are padded with 0 at the front
    good    (n) uint8, 1 if there is more praise than criticism ("not good" is criticism), else 0
    topics  (n, 4) uint8, 1 for each of food, service, place and price that the review mentions
and the first 600 training reviews as text: reviews.csv, with the columns text and good (yes or no), and the list of
their words, reviews_words.txt.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

TOPICS = {
    "food": "soup bread fish cake",
    "service": "waiter cook owner staff",
    "place": "room garden table music",
    "price": "price bill menu wine",
}
PRAISE = "good great fine lovely perfect"
BLAME = "bad awful poor cold dull"
FILLING = "the was not very and today here again"
VOCABULARY = ["", *" ".join([*TOPICS.values(), PRAISE, BLAME, FILLING]).split()]
LENGTH = 24
TEXTS = 600  # reviews that are also written as text


def clause(random: np.random.Generator, topic: str) -> tuple[list[str], int]:
    """Something about a topic, `the soup was not very good`, and whether it praises (1) or blames (-1)."""
    noun = random.choice(TOPICS[topic].split())
    praises = random.random() < 0.5
    word = random.choice((PRAISE if praises else BLAME).split())
    negated = random.random() < 0.3
    words = ["the", noun, "was", *["not"] * negated, *["very"] * (random.random() < 0.3), word]
    return words, (1 if praises else -1) * (-1 if negated else 1)


def review(random: np.random.Generator) -> tuple[list[int], int, list[int]]:
    """(words, good, topics) of one review of one to three clauses that are not balanced."""
    while True:
        about = random.choice(list(TOPICS), random.integers(1, 4))
        clauses = [clause(random, topic) for topic in about]
        praise = sum(sign for _, sign in clauses)
        words = [word for i, (said, _) in enumerate(clauses) for word in (["and"] if i else []) + said]
        words += [[], ["today"], ["here", "again"]][random.integers(3)]
        if praise and len(words) <= LENGTH:
            numbers = [0] * (LENGTH - len(words)) + [VOCABULARY.index(word) for word in words]
            return numbers, int(praise > 0), [int(topic in about) for topic in TOPICS]


def write_text(folder: Path, reviews: tuple[list[int], ...], good: tuple[int, ...]) -> None:
    """Writes reviews as text, and the list of words: the index of a word is the number of its line."""
    lines = ["text,good"]
    for words, praise in zip(reviews, good, strict=True):
        lines.append(f"{' '.join(VOCABULARY[word] for word in words if word)},{'yes' if praise else 'no'}")
    (folder / "reviews.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokens = ["<pad>", "<unk>", *VOCABULARY[1:]]
    (folder / "reviews_words.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")


def main(folder: Path) -> None:
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", 1200), ("test", 300)):
        words, good, topics = zip(*(review(random) for _ in range(count)), strict=True)
        if name == "train":
            write_text(folder, words[:TEXTS], good[:TEXTS])
        arrays = {"words": words, "good": good, "topics": topics}
        np.savez_compressed(folder / f"reviews_{name}.npz", **{k: np.asarray(v, np.uint8) for k, v in arrays.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
