"""The figures that Graphviz draws: a diagram of each example, and one of the components of this package.

They are files in the folder `figures`, so that the manual can be built without Graphviz. Each contains a checksum of
its source, which the tests compare. `python -m netdef.docs.figures` writes them all.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from ..compiler import load
from ..inspect import draw
from . import gallery

HERE = Path(__file__).parent
FOLDER = HERE / "figures"
LAYOUT = Path(__file__).parents[1] / "README.md"  # the page with the diagram of the components
NODE = re.compile(r'(\w+)\["([^"]*)"\]')  # of Mermaid: `id["words"]`
STYLE = """\
  nodesep=0.15; ranksep=0.3; fontname="Helvetica"; fontsize=10; fontcolor="#555555";
  node [shape=box style="rounded,filled" color="#00000040" fillcolor="#e3e3e3" margin="0.12,0.05"];
  node [fontname="Helvetica" fontsize=11];
  edge [color="#00000090" arrowsize=0.6];"""


def sources() -> Iterator[tuple[str, str]]:
    """Yields the name of each figure and its source in the language of Graphviz. Uses of templates are folded."""
    for name in gallery.names():
        net = load(gallery.examples() / f"{name}.net", "TRAIN")
        yield name, draw.dot(draw.picture(net, ("all",)))
    (diagram,) = re.findall(r"^```mermaid\n(.*?)^```", LAYOUT.read_text(encoding="utf-8"), re.S | re.M)
    yield "components", components(diagram)


def components(mermaid: str) -> str:
    """Returns the diagram of the components, which is in Mermaid for the hosts of repositories, for Graphviz."""
    lines = ["digraph components {", STYLE]
    for line in map(str.strip, mermaid.splitlines()[1:]):
        if frame := re.fullmatch(r"subgraph (\w+) \[(.*)\]", line):
            lines.append(f'subgraph cluster_{frame[1]} {{ label="{frame[2]}"; style=rounded; color="#00000040";')
        elif line == "end":
            lines.append("}")
        else:
            lines += [f'{key} [label="{_broken(words)}"];' for key, words in NODE.findall(line)]
            sides = [re.findall(r"\w+", NODE.sub(r"\1", side)) for side in line.split("-->")]
            lines += [f"{a};" for a in sides[0] if len(sides) == 1 and not NODE.search(line)]
            lines += [f"{a} -> {b};" for a in sides[0] for b in (sides[1] if len(sides) > 1 else ())]
    return "\n".join([*lines, "}"])


def _broken(words: str) -> str:
    """Returns the label of a component with its description on a line of its own."""
    name, colon, what = words.partition(": ")
    return f"{name}\\n{what}" if colon else name


def checksum(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def write(folder: Path = FOLDER) -> None:
    """Writes all figures. Requires Graphviz."""
    for name, source in sources():
        drawn = draw.by_graphviz(source, "svg", name)
        assert drawn is not None, "Graphviz is not installed"
        text = re.sub(r"<!--.*?-->\n?|<\?xml.*?\?>\n?|<!DOCTYPE.*?>\n?", "", drawn.decode(), flags=re.S)
        (folder / f"{name}.svg").write_text(f"<!-- {checksum(source)} -->\n{text}", encoding="utf-8")


if __name__ == "__main__":
    write()
