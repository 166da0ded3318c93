"""A Pygments lexer for `.net` files, which colors the code of the manual."""

from __future__ import annotations

from pygments.lexer import RegexLexer, bygroups, include, words
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Text

__all__ = ["NetLexer"]  # Pygments reads it

STATEMENTS = ("import", "let", "template", "for", "in", "if", "else")


class NetLexer(RegexLexer):
    """Fields, blocks, the six statements, and `${...}` inside and outside strings."""

    name = "netdef"
    aliases = ["netdef"]
    filenames = ["*.net", "*.prototxt"]

    tokens = {
        "root": [
            (r"#.*", Comment.Single),
            (r"\$\{", Punctuation, "expression"),
            (words(STATEMENTS, prefix=r"(?<![\w.])", suffix=r"\b(?!\s*:)"), Keyword),
            (r"([A-Za-z_]\w*)(\s*)(:)", bygroups(Name.Attribute, Text, Punctuation)),
            (r"([A-Za-z_]\w*)(\s*)(?=[{<])", bygroups(Name.Tag, Text)),
            include("values"),
        ],
        "values": [
            (r'"', String, "double"),
            (r"'(?:[^'\\\n]|\\.)*'", String),
            (r"-?(?:0x[0-9A-Fa-f]+|\d+\.?\d*(?:e[+-]?\d+)?f?|\.\d+(?:e[+-]?\d+)?)\b", Number),
            (r"\b(?:true|false)\b", Keyword.Constant),
            (r"\b(?:and|or|not|in|if|else)\b", Keyword),
            (r"[A-Za-z_]\w*", Name),
            (r"[-+*/%=<>!]=?", Operator),
            (r"[][{}(),;:.]", Punctuation),
            (r"\s+", Text),
            (r".", Text),
        ],
        "double": [
            (r"\$\{", Punctuation, "expression"),
            (r'(?:[^"\\$\n]|\\.|\$(?!\{))+', String),
            (r'"|$', String, "#pop"),
        ],
        "expression": [(r"\}", Punctuation, "#pop"), include("values")],
    }
