"""The manual: pages in Markdown beside this file, a reference generated from the classes, and the site made of them.

`netdef docs` shows it.  `contents.py` lists the pages in their order, `reference.py` and `interface.py` write the
reference, `gallery.py` the pages of the examples, and `site.py` makes HTML of all with mkdocs-material.
"""
