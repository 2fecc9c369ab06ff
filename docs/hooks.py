"""What the build of the site adds to MkDocs.

- Pages made from files outside docs/, and the reference of all commands.
- Links from docs/ to files outside of it: to their page if they have one; plain text otherwise.
- The build fails if a page would load anything from another host.
"""

import logging
import pathlib
import posixpath
import re
import sys
from html.parser import HTMLParser

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import commands

log = logging.getLogger("mkdocs.hooks.dnnh")
ROOT = commands.ROOT

# Pages of the site that are files elsewhere in the repository.
OUTSIDE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "data/README.md": "data.md",
    "models/README.md": "models.md",
}
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^)\s]+)\)")
COMMANDS = re.compile(r"<!-- commands: (\w+) -->")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, page in OUTSIDE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    markdown = COMMANDS.sub(lambda match: commands.reference(match[1]), markdown)
    uri = page.file.src_uri
    # Where the page's file lies in the repository: links in it are relative to that.
    source = {page: source for source, page in OUTSIDE.items()}.get(uri, f"docs/{uri}")

    def resolve(match: re.Match[str]) -> str:
        text, target = match.groups()
        path, _, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return match[0]
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if wanted in OUTSIDE:
            wanted = OUTSIDE[wanted]
        elif wanted.startswith("docs/"):
            wanted = wanted.removeprefix("docs/")
        elif (ROOT / wanted).exists():
            return text.strip("[]")
        else:
            log.warning("%s links to %s, which does not exist", source, target)
            return match[0]
        relative = posixpath.relpath(wanted, posixpath.dirname(uri) or ".")
        return f"{text}({relative}{'#' + anchor if anchor else ''})"

    return LINK.sub(resolve, markdown)


def on_page_content(html: str, **_: object) -> str:
    """Docstrings have the roles of Sphinx, which Markdown does not know."""
    return re.sub(r":(?:class|func|meth|mod):(?:(?=<code>)|`([\w.]+)`)", r"\1", html)


class Loads(HTMLParser):
    """Addresses on other hosts that a browser loads with a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and values.get("rel") in ("canonical", "prev", "next"):
            return
        names = {"a": (), "link": ("href",)}.get(tag, ("src", "srcset", "data", "poster"))
        for name in names:
            if re.match(r"(https?:)?//", values.get(name) or ""):
                self.addresses.append(f"<{tag} {name}={values[name]}>")


def on_post_build(config: MkDocsConfig) -> None:
    site = pathlib.Path(config.site_dir)
    for path in sorted(site.rglob("*.html")):
        found = Loads()
        found.feed(path.read_text(encoding="utf-8"))
        for address in found.addresses:
            log.warning("%s loads from another host: %s", path.relative_to(site), address)
    for path in sorted(site.rglob("*.css")):
        for address in re.findall(
            r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')]+)", path.read_text(encoding="utf-8")
        ):
            log.warning("%s loads from another host: %s", path.relative_to(site), address)
