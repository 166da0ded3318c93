"""The language: text in, tree and diagnostics out.  Needs the standard library and Lark, nothing else of netdef."""
