"""Sphinx: the pages are plain Markdown that a forge shows as well; only the table of contents is Sphinx's own."""

from longshore import __version__

project = "Longshore"
author = "The Longshore authors"
project_copyright = "The Longshore authors"
release = __version__

extensions = ["myst_parser"]
root_doc = "index"
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "README.md", "examples", "pictures", "tools", "requirements.lock"]
myst_enable_extensions = ["fieldlist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"Longshore {release}"
nitpicky = True
