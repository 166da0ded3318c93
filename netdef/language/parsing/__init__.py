"""Parsing: from source text to a tree, or to syntax errors."""
