"""Text as indices of tokens: by a vocabulary file, or by a tokenizer file of Hugging Face's `tokenizers`."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import shown
from ..language.errors import NetdefError
from ..lazy import need, np
from ..schema import Block, param
from .damage import reading

UNKNOWN_TOKENS = ("<unk>", "[UNK]")
PADDING_TOKENS = ("<pad>", "[PAD]", "<|pad|>", "<|endoftext|>")
WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
Fault = Callable[[str], NetdefError]


class Split(enum.Enum):
    """How a text is divided into tokens, which a vocabulary lists."""

    WORDS = 0
    SPACES = 1
    CHARACTERS = 2


class Pad(enum.Enum):
    """Where padding is."""

    FRONT = 0
    BACK = 1


class Text(Block):
    """`text { top: "words" vocabulary: "vocabulary.txt" length: 24 }`: how the texts of a column are read."""

    top: str = param("Name of the top of the tokens, (batch_size, length).")
    name: str = param(
        "Column of the texts; default: the one with the name of the top, or the lines of a .txt file.", default=""
    )
    vocabulary: str = param(
        "Text file with one token per line; the index of a token is the number of its line, from 0.  It has `<pad>`, "
        "for padding, and `<unk>`, for tokens that it does not have; without `<unk>` these are errors.",
        default="",
    )
    tokenizer: str = param("In place of `vocabulary`: a tokenizer.json of Hugging Face.", default="")
    split: Split = param(
        "Tokens of a vocabulary: WORDS, also punctuation marks; what is between SPACES; or CHARACTERS.",
        default=Split.WORDS,
    )
    lower: bool = param("Whether text is converted to lower case, for a vocabulary.", default=True)
    length: int = param("Number of tokens of a record; shorter texts are padded.", at_least=1)
    truncate: bool = param("Cut off the end of longer texts, which are errors otherwise.", default=False)
    pad: Pad = param(
        "Where padding is.  FRONT: the last step of a recurrent layer is the last token.", default=Pad.FRONT
    )
    time_first: bool = param(
        "Whether tops are (length, batch_size), as recurrent layers expect, in place of (batch_size, length).",
        default=False,
    )
    cont: str = param(
        "Name of a further top, for the second bottom of recurrent layers: 0 at the first token and in the padding, 1 "
        "at the following tokens.",
        default="",
    )
    mask: str = param("Name of a further top: 1 at tokens, 0 in the padding.", default="")
    next: str = param(
        "Name of a further top, the labels of a language model: the token that follows each one; -1, for "
        "`ignore_label`, at the last one and in the padding.",
        default="",
    )
    lengths: str = param("Name of a further top, (batch_size): the number of tokens of each record.", default="")

    @property
    def tops(self) -> dict[str, str]:
        """What each named top contains: a field of this block."""
        return {getattr(self, kind): kind for kind in ("top", "cont", "mask", "next", "lengths") if getattr(self, kind)}


@dataclass(frozen=True)
class Coder:
    """Turns text into indices of tokens.  `content`: that of its file."""

    content: str
    ids: Callable[[str], list[int]]
    size: int
    padding: int
    unknown: Callable[[str], str | None]  # the first token of a text that has no index, if that is an error


def open_coder(block: Text, path: Path, fault: Fault) -> Coder:
    """Reads the vocabulary or tokenizer of a text.  Raises NetdefError for another file."""
    kind = "tokenizer file" if block.tokenizer else "vocabulary"
    with reading(path, kind, fault):
        try:
            content = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise fault(f"{shown(path)} is not UTF-8, so it is no {kind}.") from None
    return coder_of(block, content, path, fault)


def coder_of(block: Text, content: str, path: Path, fault: Fault) -> Coder:
    """Returns what the content of a vocabulary or tokenizer file means; `path` is for messages."""
    return (_tokenizer if block.tokenizer else _vocabulary)(block, content, path, fault)


def _vocabulary(block: Text, content: str, path: Path, fault: Fault) -> Coder:
    tokens = [line.rstrip("\r") for line in content.removesuffix("\n").split("\n")] if content else []
    if not tokens:
        raise fault(f"the vocabulary {shown(path)} is empty; write one token per line, `<pad>` and `<unk>` first.")
    if content.lstrip().startswith("{"):
        raise fault(
            f"the vocabulary {shown(path)} is JSON; give a tokenizer.json as `tokenizer`, or write one token per line."
        )
    index: dict[str, int] = {}
    for number, token in enumerate(tokens):
        if index.setdefault(token, number) != number:
            raise fault(
                f"{shown(path)}:{number + 1}: `{shown(token)}` is also on line {index[token] + 1}; each token has one "
                "index, so remove one of the lines."
            )
    padding = _first(index, PADDING_TOKENS[:2])
    if padding is None:
        raise fault(
            f"the vocabulary {shown(path)} has no `<pad>`, the token of the padding; write it on the first line."
        )
    other = _first(index, UNKNOWN_TOKENS)
    divide = divider(block)
    return Coder(
        content,
        lambda text: [index.get(token, other) for token in divide(text)],  # type: ignore[misc]
        len(tokens),
        padding,
        lambda text: None if other is not None else next((t for t in divide(text) if t not in index), None),
    )


def divider(block: Text) -> Callable[[str], list[str]]:
    """Returns the function that divides a text into tokens."""
    divide: Callable[[str], list[str]] = {Split.WORDS: WORD.findall, Split.SPACES: str.split, Split.CHARACTERS: list}[
        block.split
    ]
    return (lambda text: divide(text.lower())) if block.lower else divide


def _tokenizer(block: Text, content: str, path: Path, fault: Fault) -> Coder:
    module = need("tokenizers", "`tokenizer`")
    try:
        json.loads(content)
    except ValueError:
        raise fault(
            f"{shown(path)} is not a tokenizer.json, which is JSON; give a list of tokens as `vocabulary`, and convert "
            "other formats, such as SentencePiece, with `transformers`."
        ) from None
    try:
        found = module.Tokenizer.from_str(content)
    except Exception as error:  # the library raises this class itself
        words = " ".join(str(error).split())[:160]
        raise fault(f"{shown(path)} is not a tokenizer.json of Hugging Face ({words}).") from None
    padding = found.padding["pad_id"] if found.padding else None
    index = found.get_vocab(with_added_tokens=True)
    padding = _first(index, PADDING_TOKENS) if padding is None else padding
    if padding is None:
        raise fault(f"the tokenizer {shown(path)} has no token for padding; add one with the name `[PAD]`.")
    found.no_padding()
    found.no_truncation()
    size = 1 + max(index.values(), default=0)
    return Coder(content, lambda text: found.encode(text).ids, size, padding, lambda text: None)


def _first(index: dict[str, int], names: Sequence[str]) -> int | None:
    return next((index[name] for name in names if name in index), None)


def tokenized(
    block: Text, coder: Coder, texts: Sequence[str | None], place: Callable[[int], str], fault: Fault
) -> tuple[Any, Any]:
    """Returns the indices of the tokens, (rows, length) int32, padded, and the number of tokens of each row.

    Raises NetdefError for a text that is missing, without tokens, or too long, and for an unknown token."""
    found = np.full((len(texts), block.length), coder.padding, np.int32)
    lengths = np.zeros(len(texts), np.int32)
    for row, text in enumerate(texts):
        if text is not None and (strange := coder.unknown(text)) is not None:
            raise fault(
                f"{place(row)}: the vocabulary {shown(block.vocabulary)} has neither `{shown(strange)}` nor "
                "`<unk>`; add one of them."
            )
        ids = coder.ids(text) if text is not None else []
        if not ids:
            raise fault(f"{place(row)}: no text in column `{block.name or block.top}`; remove the row.")
        if len(ids) > block.length:
            if not block.truncate:
                raise fault(
                    f"{place(row)}: the text has {len(ids)} tokens, but `length` is {block.length}; increase it, or "
                    "set `truncate: true`."
                )
            ids = ids[: block.length]
        at = block.length - len(ids) if block.pad is Pad.FRONT else 0
        found[row, at : at + len(ids)] = ids
        lengths[row] = len(ids)
    return found, lengths


def tops_of_text(block: Text, tokens: Any, lengths: Any, xp: Any) -> dict[str, Any]:
    """Returns the tops of a batch by name: float32, from its tokens (n, length) and lengths (n); `xp`: numpy or
    jax.numpy."""
    position = xp.arange(block.length)[None]
    first = (block.length - lengths if block.pad is Pad.FRONT else xp.zeros_like(lengths))[:, None]
    mask = (position >= first) & (position < first + lengths[:, None])
    after = xp.concatenate([mask[:, 1:], xp.zeros_like(mask[:, :1])], 1)
    made = {
        "top": tokens,
        "cont": mask & (position > first),
        "mask": mask,
        "next": xp.where(mask & after, xp.roll(tokens, -1, 1), -1),
    }
    turn = (lambda x: x.T) if block.time_first else (lambda x: x)
    found = {top: turn(made[kind]) for top, kind in block.tops.items() if kind in made}
    if block.lengths:
        found[block.lengths] = lengths
    return {top: x.astype(xp.float32) for top, x in found.items()}
