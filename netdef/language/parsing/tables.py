"""The LALR tables of the grammar: made by Lark from `grammar/netdef.lark`, kept beside this file as `tables.json`.

Takes nothing; gives `Tables` to `parser`.  The tables are stored because importing Lark and building them costs several
times what parsing a large net does: Lark is imported only where the grammar was edited and the stored tables are stale.
They are stored in the package, not in a cache folder, so that nothing is ever written where netdef is merely used.

After an edit of the grammar, `pytest tests/language/test_parser.py --update-goldens` stores them anew.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

STORED = Path(__file__).with_name("tables.json")


class Rule(NamedTuple):
    """One alternative of the grammar: what it makes, of how many symbols, and the action that does it."""

    makes: str
    length: int
    action: str | None


class Tables(NamedTuple):
    """What the parser runs on.

    `starts`: the state to begin in, for a file and for an expression.  `actions[state][symbol]`: the next state, or
    `-1 - rule` to reduce.  `symbols[state]`: what was read last on the way there.  `scan[modes[state]]`: matches the
    token that follows, in the group of its name.
    """

    starts: dict[str, int]
    actions: list[dict[str, int]]
    symbols: list[str]
    rules: list[Rule]
    modes: list[str]
    scan: dict[str, Callable[[str, int, int], re.Match[str] | None]]


def grammar_text() -> str:
    """The grammar: inside the package when it is installed, at the top of the checkout otherwise."""
    for folder in (Path(__file__).parents[2], Path(__file__).parents[3]):
        path = folder / "grammar" / "netdef.lark"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise FileNotFoundError(f"grammar/netdef.lark is neither in {folder} nor in the package")


@cache
def load() -> Tables:
    """The stored tables, or new ones if the grammar was changed since."""
    text = grammar_text()
    data = json.loads(STORED.read_text(encoding="utf-8")) if STORED.is_file() else {}
    if data.get("grammar") != checksum(text):
        data = build(text)
    rules = [Rule(*rule) for rule in data["rules"]]
    scan = {mode: re.compile(pattern, re.ASCII).match for mode, pattern in data["patterns"].items()}
    return Tables(data["starts"], data["actions"], data["symbols"], rules, data["modes"], scan)


def checksum(text: str) -> int:
    return zlib.crc32(text.encode())


def build(text: str) -> dict[str, Any]:
    """Plain lists and dicts of everything in `Tables`, by Lark's LALR analysis."""
    from lark import Lark
    from lark.grammar import Rule as LarkRule
    from lark.lexer import TerminalDef

    # `memo_serialize` is what Lark's own stand-alone generator stands on.
    whole, memo = Lark(text, parser="lalr", start=["start", "interpolation"], maybe_placeholders=False).memo_serialize(
        [TerminalDef, LarkRule]
    )
    table = whole["parser"]["parser"]
    rules = {at: i for i, at in enumerate(at for at, value in memo.items() if value["__type__"] == "Rule")}
    terminals = {value["name"]: value for value in memo.values() if value["__type__"] == "TerminalDef"}
    states = numbered(table)
    actions = [
        {
            table["tokens"][token]: states[act[1]] if act[0] == 0 else -1 - rules[act[1]["@"]]
            for token, act in sorted(table["states"][state].items(), key=lambda pair: table["tokens"][pair[0]])
        }
        for state in states
    ]
    symbols = [""] * len(actions)
    for symbol, state in (pair for action in actions for pair in action.items() if pair[1] >= 0):
        symbols[state] = symbol  # all ways into an LALR state end with the same symbol
    modes = [mode_of(action) for action in actions]
    return {
        "grammar": checksum(text),
        "starts": {name: states[state] for name, state in table["start_states"].items()},
        "rules": [[memo[at]["origin"]["name"], len(memo[at]["expansion"]), memo[at]["alias"]] for at in rules],
        "actions": actions,
        "symbols": symbols,
        "modes": modes,
        "patterns": {mode: pattern(mode, modes, actions, terminals) for mode in sorted(set(modes))},
    }


def numbered(table: dict[str, Any]) -> dict[int, int]:
    """Lark's number of each state -> ours, in the order in which they are reached: equal grammars make equal files."""
    numbers = {state: at for at, (_, state) in enumerate(sorted(table["start_states"].items()))}
    queue = list(numbers)
    for state in queue:
        shifts = {table["tokens"][token]: act[1] for token, act in table["states"][state].items() if act[0] == 0}
        for _, following in sorted(shifts.items()):
            if following not in numbers:
                numbers[following] = len(numbers)
                queue.append(following)
    return numbers


def mode_of(action: dict[str, int]) -> str:
    """States that read alike share a scanner: where a field can start, where a bare word is a value, and the rest."""
    return "field" if "FIELD" in action else "value" if "WORD" in action else "other"


def pattern(mode: str, modes: list[str], actions: list[dict[str, int]], terminals: dict[str, Any]) -> str:
    """One alternation of all terminals that a state of this mode accepts, the most special first."""
    accepted = {name for at, action in enumerate(actions) if modes[at] == mode for name in action if name in terminals}
    kinds = [terminals[name] for name in accepted]
    kinds.sort(key=lambda t: (-t["priority"], -len(t["pattern"]["value"]), t["name"]))
    parts = [f"(?P<{t['name']}>{regex(t)})" for t in kinds]
    parts += [f"(?P<COMMENT>{regex(terminals['COMMENT'])})", r"(?P<END>\Z)"]
    return r"\s*+(?:" + "|".join(parts) + ")"


def regex(terminal: dict[str, Any]) -> str:
    kind, value = terminal["pattern"]["__type__"], terminal["pattern"]["value"]
    return re.escape(value) if kind == "PatternStr" else value
