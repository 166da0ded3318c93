"""Random texts against the parser, the expander, the decoder and the formatter, for as long as one likes.

usage: nice python tests/fuzzing/fuzz_language.py [SECONDS]      (default 60)

Every stage must end in a value or in diagnostics, in under a second of CPU time and 300 MB of memory, and agree with the
others (see `fuzzing`).  Seeds are the examples, the library and the faulty texts of the tests.  With the package atheris
installed the choice of texts follows what code they reach; without it they are damaged blindly.  A text that fails is
printed and kept in the file fuzz-failure.net.
"""

from __future__ import annotations

import contextlib
import random
import re
import resource
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS / "support"))
sys.dont_write_bytecode = True
LONGEST = 20_000  # characters of a text
SLOWEST = 1.0  # seconds of CPU
LARGEST = 300  # MB of the whole process
TOKEN = re.compile(r"[\w.]+|\"[^\"\n]*\"|\$\{|\s+|.", re.S)

try:
    import atheris
except ImportError:
    atheris = None

# What is fuzzed has to be imported under atheris' eyes.
with (
    atheris.instrument_imports(include=["netdef"], enable_loader_override=False)
    if atheris
    else contextlib.nullcontext()
):
    from fuzzing import check_all, check_net

    import netdef.compiler
    import netdef.language.expansion.expander
    import netdef.language.formatter
    import netdef.language.parsing.mistakes
    import netdef.language.render  # noqa: F401
    from netdef.layers.base import LAYERS

    LAYERS.known()  # imports them all


def seeds() -> list[str]:
    """Texts to begin with: whole files, and the chunks of the tests' corpus of errors."""
    files = [*TESTS.parent.glob("examples/*.net"), *TESTS.parent.glob("netdef/std/*.net")]
    texts = [path.read_text(encoding="utf-8") for path in files]
    for path in TESTS.glob("corpus/**/*.txt"):
        texts += re.split(r"^---.*\n", path.read_text(encoding="utf-8"), flags=re.M)
    return [text for text in texts if len(text) < LONGEST]


TEXTS = seeds()
TOKENS = sorted({token for text in TEXTS for token in TOKEN.findall(text)})


def damaged(text: str, chance: random.Random) -> str:
    """A text with some of its tokens left out, doubled, moved or replaced by others."""
    tokens = TOKEN.findall(text)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(tokens) + 1)
        some = tokens[at : at + chance.choice([1, 1, 2, 10, 50])]
        match chance.randrange(6):
            case 0:
                del tokens[at : at + len(some)]
            case 1:
                tokens[at:at] = some * chance.choice([1, 1, 2, 200])
            case 2:
                tokens[at : at + 1] = [chance.choice(TOKENS)]
            case 3:
                tokens[at:at] = [chance.choice(TOKENS)]
            case 4:
                other = TOKEN.findall(chance.choice(TEXTS))
                start = chance.randrange(len(other) + 1)
                tokens[at:at] = other[start : start + 40]
            case 5:
                tokens[at : at + 1] = [
                    chance.choice(["0", "1", "-1", "9" * 30, "1e308", "nan", "2147483648", '""', "a"])
                ]
    return "".join(tokens)[:LONGEST]


def attempt(text: str) -> None:
    """Hold one text against everything.  AssertionError, or whatever a stage lets through."""
    try:
        for check in (check_all, check_net):
            start = time.process_time()
            check(text)
            took = time.process_time() - start
            # check_all runs each stage twice and more
            assert took < (2 if check is check_net else 4) * SLOWEST, f"{check.__name__} took {took:.2f} s"
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        assert memory < LARGEST, f"{memory:.0f} MB"
    except BaseException:
        Path("fuzz-failure.net").write_text(text, encoding="utf-8", errors="surrogateescape")
        raise


def guided(seconds: float) -> None:
    """With atheris: texts that reach new code are kept and damaged further."""
    count = 0

    def one(data: bytes) -> None:
        nonlocal count
        count += 1
        if count % 1000 == 0:
            print(f"{count} texts", file=sys.stderr)
        attempt(data.decode("utf-8", "replace"))

    def mutate(data: bytes, size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.2:
            return atheris.Mutate(data, size)
        text = data.decode("utf-8", "replace") if len(data) > 2 else chance.choice(TEXTS)
        return damaged(text, chance).encode()[:size]

    options = [f"-max_total_time={seconds:.0f}", f"-max_len={LONGEST}", "-rss_limit_mb=0", "-timeout=60"]
    with tempfile.TemporaryDirectory() as folder:
        for i, text in enumerate(TEXTS):
            (Path(folder) / f"{i}.net").write_text(text, encoding="utf-8")
        atheris.Setup([sys.argv[0], *options, folder], one, custom_mutator=mutate)
        atheris.Fuzz()


def blind(seconds: float) -> None:
    """Without atheris: one damaged seed after the other."""
    chance, end, count = random.Random(), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        attempt(damaged(chance.choice(TEXTS), chance))
        count += 1
    print(f"{count} texts, no failure")


if __name__ == "__main__":
    import logging

    logging.disable()
    (guided if atheris else blind)(float((sys.argv[1:] or ["60"])[0]))
