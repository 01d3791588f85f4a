"""Makes the generated pages of the reference; `python -m docs.tools` writes them, a test says that they are current."""
