"""Fuzzing of the parser, the expander, the decoder, every later stage up to the net, and the formatter.

usage: nice python tests/fuzzing/fuzz_language.py                        3,000 texts
       nice python tests/fuzzing/fuzz_language.py --count 100000 --seed 7 --jobs 2
       nice python tests/fuzzing/fuzz_language.py --first 5000 --seed 7  3,000 texts from number 5,000 on
       nice python tests/fuzzing/fuzz_language.py --only 1234 --seed 7   text 1234 of seed 7 again
       nice python tests/fuzzing/fuzz_language.py --guided 600           600 seconds, guided by coverage (needs atheris)

Every stage must return a value or report diagnostics, within two seconds of CPU time and 300 MB of memory, and agree
with the other stages (see `fuzzing`).  A fifth of the texts are files with random mutations: the examples, the template
library, the invalid programs of the tests, and the corpus of real files if it is beside the checkout.  The others are
random nets, made from the registries of layers, fillers and solvers (see `random_nets`); some of them are mutated too.
A text that fails is printed with its number and saved as fuzz-failure-NUMBER.net.  The program prints each minute how
far it is, and at the end the rate and how many texts each stage refused.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import random
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS / "support"))
sys.dont_write_bytecode = True
CORPUS = TESTS.parents[1] / "shared" / "corpus"
LONGEST = 20_000  # characters of a text
PART = 50  # texts that a process checks before it reports
SLOWEST = 2.0  # seconds of CPU
LARGEST = 300  # MB of the whole process
TOKEN = re.compile(r"[\w.]+|\"[^\"\n]*\"|\$\{|\s+|.", re.S)

try:
    import atheris
except ImportError:
    atheris = None

# The fuzzed modules must be imported while atheris instruments imports.
with (
    atheris.instrument_imports(include=["netdef"], enable_loader_override=False)
    if atheris
    else contextlib.nullcontext()
):
    from fuzzing import STAGES, check_all, check_net, stage_of
    from random_nets import random_net

    import netdef.compiler
    import netdef.language.expansion.expander
    import netdef.language.formatter
    import netdef.language.parsing.mistakes
    import netdef.language.render  # noqa: F401
    from netdef.layers.base import LAYERS

    LAYERS.known()  # imports them all


def seeds() -> list[str]:
    """Returns the initial texts: whole files, and the chunks of the tests' corpus of errors."""
    files = [*TESTS.parent.glob("examples/*.net"), *TESTS.parent.glob("netdef/std/*.net")]
    texts = [path.read_text(encoding="utf-8") for path in files]
    for path in TESTS.glob("corpus/**/*.txt"):
        texts += re.split(r"^---.*\n", path.read_text(encoding="utf-8"), flags=re.M)
    texts += [path.read_text(encoding="utf-8", errors="replace") for path in sorted(CORPUS.rglob("*.prototxt"))]
    return [text for text in texts if 0 < len(text) < LONGEST]


TEXTS = seeds()
TOKENS = sorted({token for text in TEXTS for token in TOKEN.findall(text)})


def damaged(text: str, chance: random.Random) -> str:
    """Returns a text with some of its tokens removed, duplicated, inserted or replaced."""
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


def drawn(chance: random.Random) -> str:
    """Returns a mutated file, or a random net that may be mutated."""
    if chance.random() < 0.2:
        return damaged(chance.choice(TEXTS), chance)
    text = random_net(chance)
    return damaged(text, chance) if chance.random() < 0.1 else text


def attempt(text: str) -> str:
    """Runs all checks on a text.  Returns the stage that refuses it.  AssertionError, or any exception of a stage, if it
    fails."""
    start = time.process_time()
    check_all(text)
    parsed = time.process_time()
    stage = stage_of(check_net(text))
    # check_all runs each stage at least twice, check_net once for each phase
    for what, took in (("parsing", (parsed - start) / 2), ("compiling", (time.process_time() - parsed) / 2)):
        assert took < SLOWEST, f"{what} took {took:.2f} s"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert memory < LARGEST, f"{memory:.0f} MB"
    return stage


def kept(text: str, number: int | str) -> Path:
    """Saves a failing text and returns its file."""
    path = Path(f"fuzz-failure-{number}.net")
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    return path


def guided(seconds: float) -> None:
    """Fuzzes with atheris: texts that reach new code are kept and mutated again."""
    count = 0

    def one(data: bytes) -> None:
        nonlocal count
        count += 1
        if count % 1000 == 0:
            print(f"{count} texts", file=sys.stderr)
        text = data.decode("utf-8", "replace")
        try:
            attempt(text)
        except BaseException:
            kept(text, count)
            raise

    def mutate(data: bytes, size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.2:
            return atheris.Mutate(data, size)
        text = data.decode("utf-8", "replace") if len(data) > 2 else drawn(chance)
        return damaged(text, chance).encode()[:size]

    options = [f"-max_total_time={seconds:.0f}", f"-max_len={LONGEST}", "-rss_limit_mb=0", "-timeout=60"]
    with tempfile.TemporaryDirectory() as folder:
        for i, text in enumerate(TEXTS):
            (Path(folder) / f"{i}.net").write_text(text, encoding="utf-8")
        atheris.Setup([sys.argv[0], *options, folder], one, custom_mutator=mutate)
        atheris.Fuzz()


class Part(NamedTuple):
    """What came of some of the texts."""

    stages: Counter[str]  # how many were refused by each stage
    failures: int
    slowest: tuple[float, int]  # seconds of CPU, number of the text


def part(numbers: range, seed: int) -> Part:
    """Fuzzes without atheris: random texts."""
    stages, failures, slowest = Counter(), 0, (0.0, -1)
    for number in numbers:
        text, start = drawn(random.Random(f"{seed} {number}")), time.process_time()
        try:
            stages[attempt(text)] += 1
        except Exception as error:
            failures += 1
            path = kept(text, number)
            print(f"--only {number} --seed {seed}: {type(error).__name__}: {error} (saved as {path})", flush=True)
            if len(numbers) == 1:
                raise
        slowest = max(slowest, (time.process_time() - start, number))
    return Part(stages, failures, slowest)


def blind(numbers: range, seed: int, jobs: int) -> int:
    """Fuzzes with random texts in so many processes.  Returns the number of failures."""
    made, begun, told = Part(Counter(), 0, (0.0, -1)), time.monotonic(), 0.0
    count, done = len(numbers), 0
    parts = [numbers[i : i + PART] for i in range(0, count, PART)]
    # What is imported lives for ever: a quarter of the time would be spent on looking for garbage in it.
    with ProcessPoolExecutor(jobs, initializer=gc.freeze) as pool:
        for some, one in zip(parts, pool.map(part, parts, [seed] * len(parts)), strict=True):
            made = Part(made.stages + one.stages, made.failures + one.failures, max(made.slowest, one.slowest))
            done, seconds = done + len(some), time.monotonic() - begun
            if seconds > told + 60:
                told = seconds
                print(f"{done} texts, to number {some[-1]}, in {seconds:.0f} s, {made.failures} failures", flush=True)
    seconds = time.monotonic() - begun
    print(f"{count} texts in {seconds:.0f} s ({count / seconds:.1f} a second), {made.failures} failures")
    print(f"slowest: {made.slowest[0]:.2f} s of CPU for all stages, text {made.slowest[1]}")
    reached = sum(made.stages.values())
    for stage in STAGES:
        refused = f", refused there {made.stages[stage] / count:6.1%}" if stage != "net" else ""
        print(f"  reached {stage:<8} {reached / count:6.1%}{refused}")
        reached -= made.stages[stage]
    return made.failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=3000, metavar="N", help="number of texts (default 3000)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the texts (default 0)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first text (default 0)")
    parser.add_argument("--only", type=int, metavar="N", help="run only text N, with a traceback if it fails")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="number of processes (default 1)")
    parser.add_argument("--guided", type=float, metavar="SECONDS", help="fuzz guided by coverage; needs atheris")
    given = parser.parse_args()
    logging.disable()
    if given.guided is not None:
        if atheris is None:
            parser.error("--guided needs the package atheris, which is not installed")
        guided(given.guided)
        return 0
    if given.only is not None:
        part(range(given.only, given.only + 1), given.seed)
        return 0
    return 1 if blind(range(given.first, given.first + given.count), given.seed, given.jobs) else 0


if __name__ == "__main__":
    sys.exit(main())
