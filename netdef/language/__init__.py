"""The language: from source text to a tree and diagnostics. Depends on the standard library and Lark, not on the rest
of netdef."""
