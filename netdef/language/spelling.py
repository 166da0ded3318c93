"""Did you mean: suggests existing names for a misspelled one.

Given a name and the names that exist, returns the few nearest, best first, or none if nothing is near. All forms of
suggestions are composed here: a sentence at the end of a message, a hint that asks, and a hint to copy.
"""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, candidates: Iterable[str], n: int = 3) -> list[str]:
    """At most `n` candidates that differ from `name` only in case, underscores, word order, an abbreviation or a few
    typos."""
    wanted = plain(name)
    scored = []
    for candidate in dict.fromkeys(candidates):
        score = distance_between(wanted, plain(candidate), name, candidate)
        if score is not None and candidate != name:
            scored.append((score, candidate))
    scored.sort()
    if not scored:
        return []
    # Candidates that are much farther away than the best would only distract.
    limit = max(scored[0][0] * 2, 1.0)
    return [candidate for score, candidate in scored[:n] if score <= limit]


def suggestion(name: str, candidates: Iterable[str], form: str = "`{}`", most: int = 1) -> str:
    """` Did you mean a or b?`, with each name in `form`, for the end of a message; empty if nothing is near."""
    names = [form.format(candidate) for candidate in nearest(name, candidates, most)]
    return question(" or ".join(names))


def question(names: str | None) -> str:
    """` Did you mean a or b?` about names that are known already, for the end of a message; empty without them."""
    return f" Did you mean {names}?" if names else ""


def closest(name: str, candidates: Iterable[str], form: str = "{}") -> str | None:
    """The nearest candidate in `form`, for a hint that says what to write; None if nothing is near."""
    names = nearest(name, candidates, 1)
    return form.format(names[0]) if names else None


def did_you_mean(name: str, candidates: Iterable[str], most: int = 3) -> str | None:
    """`did you mean a, b or c?`, for a hint, or None."""
    names = nearest(name, candidates, most)
    if not names:
        return None
    return asked(names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1])


def asked(names: str) -> str:
    """`did you mean a or b?` about names that are known already, for a hint or after a semicolon."""
    return f"did you mean {names}?"


def plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace("/", "")


def distance_between(wanted: str, have: str, name: str, candidate: str) -> float | None:
    """The distance of a candidate, 0 if only case or punctuation differs, or None if it is too far to suggest."""
    if wanted == have:
        return 0.0
    if len(name) == len(candidate) and sorted(name.lower().split("_")) == sorted(candidate.lower().split("_")):
        return 0.5  # kernel_size, size_kernel
    if len(wanted) >= 3 and have.startswith(wanted):
        return 1.0 + 0.05 * (len(have) - len(wanted))  # conv, Convolution
    most = max(1, (len(wanted) + 1) // 3)
    if abs(len(wanted) - len(have)) > most or not wanted or len(wanted) > 80:
        return None
    if len(wanted) == 1:
        return None
    edits = typos(wanted, have)
    return float(edits) if edits <= most else None


def typos(a: str, b: str) -> int:
    """The number of insertions, deletions, substitutions and swaps of adjacent characters that turn `a` into `b`.

    Bit i of each integer is about the first i + 1 characters of `a`, so one step handles a whole column of the table of
    distances; a loop over the table takes 25 times as long. Source: H. Hyyrö, A Bit-Vector Algorithm for Computing
    Levenshtein and Damerau Edit Distances, 2003."""
    places: dict[str, int] = {}
    for i, x in enumerate(a):
        places[x] = places.get(x, 0) | 1 << i
    every = (1 << len(a)) - 1
    last = every + 1 >> 1
    more, less, diagonal, before = every, 0, 0, 0  # where the distance increases, decreases, and stays the same
    found = len(a)
    for y in b:
        same = places.get(y, 0)
        swapped = (~diagonal & same) << 1 & before
        diagonal = ((same & more) + more ^ more) | same | less | swapped
        right_more = less | ~(diagonal | more) & every
        right_less = diagonal & more
        found += bool(right_more & last) - bool(right_less & last)
        right_more, right_less = right_more << 1 | 1, right_less << 1
        more = (right_less | ~(diagonal | right_more)) & every
        less = right_more & diagonal & every
        before = same
    return found if a else len(b)
