"""Text to tree: tokens, rules, and what to say where the text is not of the language."""
