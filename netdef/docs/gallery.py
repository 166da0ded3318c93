"""The gallery: the nets in `examples`, with what they compute, their parameters, diagrams, scores and source.

Parameters and shapes are computed when the manual is built. Scores and times were measured (`MEASURED`). The diagrams
are files in `figures`, because Graphviz draws them; see `figures.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..compiler import load
from ..inspect.summary import Summary, summarize
from .reference import Page
from .text import escaped, fenced, table

HERE = Path(__file__).parent

# Page -> its title and its examples.
GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "digits": (
        "Handwritten digits",
        (
            *("digits", "digits_perceptron", "digits_vgg", "lenet", "digits_depth"),
            *("digits_autoencoder", "digits_autoencoder_classifier"),
        ),
    ),
    "tables": ("Tables", ("houses",)),
    "sequences": ("Text and sequences", ("reviews_text", "reviews_lstm", "reviews_topics", "waves_lstm", "echo_lstm")),
    "detectors": ("Detectors", ("digits_ssd", "mobilenet_ssd", "vgg16_ssd300")),
    "faces": ("Faces", ("face", "face_bn", "face_million")),
    "images": (
        "Images of 1,000 classes",
        ("googlenet", "vgg16", "squeezenet", "mobilenet", "resnet18", "resnet50", "resnet152"),
    ),
}


class Measured(NamedTuple):
    """What a run of an example achieved on the test data, and how long the command took, or one step."""

    score: str = ""
    time: str = ""


MACHINE = "two cores of an AMD EPYC with AVX-512, jax 0.10.2, on 2026-11-22"
MEASURED = {
    "digits": Measured("accuracy 0.99", "7 s"),
    "digits_perceptron": Measured("accuracy 0.983", "4 s"),
    "digits_vgg": Measured("accuracy 0.988", "8 s"),
    "digits_depth": Measured("accuracy 0.98", "6 s"),
    "digits_autoencoder": Measured("", "7 s"),
    "digits_autoencoder_classifier": Measured("accuracy 0.968", "4 s"),
    "digits_ssd": Measured("mean average precision 0.96 and 0.97, in two runs", "two to four minutes"),
    "houses": Measured("mean absolute error 0.124 standard deviations", "5 s"),
    "reviews_text": Measured("accuracy 0.983", "7 s"),
    "reviews_lstm": Measured("accuracy 1", "7 s"),
    "reviews_topics": Measured("F1 1", "4 s"),
    "waves_lstm": Measured("accuracy 0.995", "10 s"),
    "echo_lstm": Measured("accuracy 0.995", "6 s"),
    "lenet": Measured("", "7.3 ms per step of 64"),
    "face": Measured("accuracy 0.91 on the ORL faces, the median of five runs", "263 ms per step of 64"),
    "face_bn": Measured("accuracy 0.97 on the ORL faces, the median of five runs", "324 ms per step of 64"),
    "resnet50": Measured("", "842 ms per step of 8"),
}


def examples() -> Path:
    """Returns the folder of the examples: that of the checkout, or the copy in the package."""
    for folder in (HERE.parents[1] / "examples", HERE / "examples"):
        if (folder / "digits.net").is_file():
            return folder
    raise FileNotFoundError(f"the examples are neither beside the package nor in {HERE / 'examples'}")


def names() -> list[str]:
    """Returns the names of all examples, in their order."""
    return [name for _, found in GROUPS.values() for name in found]


def paths() -> list[str]:
    """Returns the paths of the pages, without that of the list."""
    return [f"gallery/{group}.md" for group in GROUPS]


def pages() -> Iterator[Page]:
    """Yields the list of all examples and a page for each group."""
    summaries = {name: summarize(load(examples() / f"{name}.net", "TRAIN")) for name in names()}
    yield Page("gallery/index.md", _list(summaries))
    for group, (title, found) in GROUPS.items():
        sections = "\n".join(_section(name, summaries[name]) for name in found)
        yield Page(f"gallery/{group}.md", f"# {title}\n\n{sections}")


def _list(summaries: dict[str, Summary]) -> str:
    lines = [
        "# Gallery",
        "",
        "The nets in the folder `examples`. Parameters and multiply-adds are those of phase TRAIN, with the default"
        f" settings. Scores and times are of training on the CPU: {MACHINE}. A time in seconds is that of the whole"
        " command `netdef train`, from start to end, of a net that the machine has not compiled before, while no other"
        " program ran. The minutes of `digits_ssd.net`, and the milliseconds of a step, which"
        " `tests/benchmarks/step_peers.py` prints, were measured with other load on the machine. A dash means that it"
        " was not measured, or that the data is not included.",
        "",
    ]
    for group, (title, found) in GROUPS.items():
        rows = []
        for name in found:
            measured = MEASURED.get(name, Measured())
            link = f"[`{name}.net`]({group}.md#{name})"
            rows.append((link, *_counts(summaries[name]), measured.score or "—", measured.time or "—"))
        head = ("net", "parameters", "multiply-adds per item", "score", "time")
        lines += [f"## {title}", "", table(head, rows, "counts", counts=(1, 2))]
    return "\n".join(lines)


def _counts(summary: Summary) -> tuple[str, str]:
    if not summary.complete:  # without its data
        return "—", "—"
    return f"{summary.parameters:,}", _rounded(summary.multiply_adds // (summary.batch or 1))


def _rounded(count: int) -> str:
    for size, word in ((10**9, "billion"), (10**6, "million")):
        if count >= size:
            return f"{count / size:.3g} {word}"
    return f"{count:,}"


def _section(name: str, summary: Summary) -> str:
    source = (examples() / f"{name}.net").read_text(encoding="utf-8")
    parameters, work = _counts(summary)
    inputs = [f"`{top}` {'x'.join(map(str, shape or ('?',)))}" for row in summary.rows[:1] for top, shape in row.tops]
    measured = MEASURED.get(name, Measured())
    head = ("input", "layers", "parameters", "multiply-adds per item", "score", "time")
    facts = (", ".join(inputs), str(len(summary.rows)), parameters, work, measured.score or "—", measured.time or "—")
    lines = [f"## {summary.net} {{ #{name} }}", "", *_head(source), "", table(head, [facts], "facts")]
    lines += ["", f'<div class="diagram" markdown>\n\n![Diagram of {name}](../figures/{name}.svg)\n\n</div>', ""]
    block = fenced(source, "protobuf").replace("\n", "\n    ").rstrip()
    return "\n".join([*lines, f'??? example "examples/{name}.net"', "", f"    {block}", ""])


def _head(source: str) -> list[str]:
    """Returns the comment at the top of a net as Markdown; its commands are indented lines."""
    comment = re.match(r"(?:#.*\n)+", source)
    lines = [line[1:].removeprefix(" ") for line in comment[0].splitlines()] if comment else []
    found: list[str] = []
    for block in re.split(r"\n\s*\n", "\n".join(lines)):
        if block.startswith("  "):
            commands = re.sub(r"\\\n\s*", "", re.sub(r"^  ", "", block, flags=re.M))
            found += [fenced("\n".join(f"$ {line}" for line in commands.splitlines()), "console")]
        else:
            found += [escaped(" ".join(block.split())), ""]
    return found
