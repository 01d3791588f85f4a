"""Write every generated page."""

from pathlib import Path

from docs.tools.pages import PAGES

if __name__ == "__main__":
    for name, make in PAGES.items():
        page = Path(__file__).resolve().parent.parent / name
        page.write_text(make())
        print(page)
