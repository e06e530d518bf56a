"""The documentation: Markdown in `guide/` and in `docs/` of the repository, pages that the code writes about itself, and one
for each operation of the API. A new file in `docs/` is on the site without further ado.

Every page is also there as Markdown, at its own address with `.md` behind it. Documents are written for the address
`http://127.0.0.1:8080`; a reader sees the address by which they reached the service.
"""

import functools
import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from tollway.errors import NotFound
from tollway.web import generated, markup
from tollway.web.configuration_page import configuration_page
from tollway.web.markup import Rendered
from tollway.web.operations import operation_documents

WRITTEN_FOR = "http://127.0.0.1:8080"


class Document(Struct, frozen=True):
    """One page of documentation, as Markdown."""

    name: str
    section: str
    title: str
    summary: str
    markdown: str

    @property
    def path(self) -> str:
        return f"/docs/{self.name}"


_GENERATED: dict[str, Callable[[], str]] = {
    "configuration": configuration_page,
    "errors": generated.errors_page,
    "settings": generated.settings_page,
}
SECTIONS: dict[str, tuple[str, ...]] = {
    "Get started": ("quickstart", "authentication", "api-keys"),
    "Build": ("streaming", "tools", "structured-outputs", "json-schema", "images", "reasoning"),
    "Rely on it": ("errors", "limits", "billing", "ledger", "reliability"),
    "Run it": ("self-hosting", "local-models", "settings", "configuration", "upstreams", "upstreams-gemini", "upgrading"),
}
"""The names of pages. One that is neither generated nor in `guide/` is a file in `docs/`."""
_THE_REST = "Operate it"
"""Where the files in `docs/` are that no section names."""
_NAMED_OTHERWISE = {"ledger": "billing", "json-schema": "structured-outputs"}
"""Names of pages whose file in `docs/` is called like one in `guide/`."""
_FOR_DEVELOPERS = ("ARCHITECTURE", "adr/")
_LINK = re.compile(r"\[([^\]]*)\]\((?![/#]|\w+:)([^)\s#]+)(#[^)\s]*)?\)")


@functools.cache
def documents() -> dict[str, Document]:
    """All of them by name, in the order of the navigation."""
    files = _files()
    taken = {_NAMED_OTHERWISE.get(name, name) for names in SECTIONS.values() for name in names}
    rest = tuple(name for name in files if name not in taken)
    found: dict[str, Document] = {}
    for section, names in (SECTIONS | {_THE_REST: rest}).items():
        for name in names:
            found[name] = _document(name, section, _text(name, files))
    for name, text in operation_documents():
        found[name] = _document(name, "API reference", text)
    return found


def _files() -> dict[str, Path]:
    """The readers' files in `docs/` by name: in a package beside this module, in a checkout at its root."""
    here = Path(__file__).parent
    folder = here / "handbook" if (here / "handbook").is_dir() else here.parents[2] / "docs"
    found = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.md"))}
    return {name: path for name, path in found.items() if not name.startswith(_FOR_DEVELOPERS)}


def _text(name: str, files: dict[str, Path]) -> str:
    if name in _GENERATED:
        return _GENERATED[name]()
    guide = Path(__file__).parent / "guide" / f"{name}.md"
    if guide.is_file():
        return guide.read_text(encoding="utf-8")
    file = _NAMED_OTHERWISE.get(name, name)
    return _with_our_links(file, files[file].read_text(encoding="utf-8"), files)


def _with_our_links(file: str, text: str, files: dict[str, Path]) -> str:
    """Links from file to file become links from page to page; where no page is, only the words stay."""
    names = {name: name for name in files} | {file: name for name, file in _NAMED_OTHERWISE.items()}

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found[1], posixpath.normpath(posixpath.join(posixpath.dirname(file), found[2])), found[3] or ""
        name = names.get(target.removesuffix(".md")) if target.endswith(".md") else None
        return f"[{words}](/docs/{name}{anchor})" if name else words

    return _LINK.sub(link, text)


def find(name: str) -> Document:
    """Raises NotFound."""
    document = documents().get(name)
    if document is None:
        raise NotFound("There is no such page in the documentation.")
    return document


@functools.cache
def sections() -> dict[str, list[Document]]:
    grouped: dict[str, list[Document]] = {}
    for document in documents().values():
        grouped.setdefault(document.section, []).append(document)
    return grouped


def neighbours(name: str) -> tuple[Document | None, Document | None]:
    """The documents before and after this one, in the order of reading."""
    order = list(documents())
    at = order.index(name)
    before = documents()[order[at - 1]] if at else None
    return before, documents()[order[at + 1]] if at + 1 < len(order) else None


def markdown_for(document: Document, origin: str) -> str:
    """The document's Markdown, with the reader's own address in it."""
    return document.markdown.replace(WRITTEN_FOR, origin)


@functools.lru_cache(maxsize=256)
def rendered(name: str, origin: str) -> Rendered:
    return markup.render(markdown_for(find(name), origin))


def llms_txt(origin: str) -> str:
    """What a language model needs to know of this service, and where to read on."""
    lines = [
        "# Tollway",
        "",
        "> An OpenAI-compatible AI API, self-hosted. "
        f"Base URL: {origin}/v1. Authentication: `Authorization: Bearer <API key>`.",
        "",
        f"The API as OpenAPI: {origin}/openapi.json. The models that are served here: {origin}/v1/models.",
    ]
    for section, pages in sections().items():
        lines += ["", f"## {section}", ""]
        lines += [f"- [{page.title}]({origin}{page.path}.md): {page.summary}" for page in pages]
    return "\n".join(lines) + "\n"


def _document(name: str, section: str, text: str) -> Document:
    """The title is the first heading, the summary the first paragraph after it."""
    paragraphs = [part.strip() for part in text.split("\n\n")]
    title = paragraphs[0].removeprefix("# ")
    summary = next(part for part in paragraphs[1:] if not part.startswith("<!--"))
    return Document(name, section, title, " ".join(summary.split()), text)
