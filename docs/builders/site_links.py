"""For mkdocs: the project's README is the start; links to code become the paths that they name."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
# Pages that are elsewhere or called otherwise in the project -> what they are called in the site.
JOINED = {
    "README.md": "index.md",
    "docs/README.md": "pages.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "examples.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
DRAWN = re.compile(r'(<img src=")docs/')  # beside the text, which Markdown cannot say


def on_files(files, config):
    for name, joined in JOINED.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, joined, content=text))
    return files


def on_page_markdown(markdown: str, page, config, files) -> str:
    source = page.file.src_uri
    origin = next((name for name, joined in JOINED.items() if joined == source), f"docs/{source}")
    return LINK.sub(lambda link: _inside(link, origin), DRAWN.sub(r"\1", markdown))


def _inside(link: re.Match, origin: str) -> str:
    """The link as it is inside the site, or its text and the path that it led to."""
    image, text, target = link.groups()
    path, hash_, anchor = target.partition("#")
    if not path or re.match(r"[a-z]+:", target):
        return link[0]
    place = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
    if place in JOINED:
        place = f"docs/{JOINED[place]}"
    if not place.startswith("docs/"):
        return text if f"`{place}`" in text or place in text else f"{text} (`{place}`)"
    here = posixpath.dirname(f"docs/{JOINED.get(origin, origin.removeprefix('docs/'))}")
    return f"{image}[{text}]({posixpath.relpath(place, here)}{hash_}{anchor})"
