"""Tree to plain tree: imports, constants, templates, loops, conditions and expressions."""
