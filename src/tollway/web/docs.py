"""The documentation: Markdown in `guide/`, pages that the code writes about itself, and one page per operation of the API.

Every page is also there as Markdown, at its own address with `.md` behind it. Documents are written for the address
`http://127.0.0.1:8080`; a reader sees the address by which they reached the service.
"""

import functools
from collections.abc import Callable
from importlib import resources

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
GUIDE = (
    ("Get started", ("quickstart", "authentication")),
    ("Build", ("streaming", "tools", "structured-outputs", "images", "reasoning")),
    ("Rely on it", ("errors", "limits", "billing")),
    ("Run it", ("self-hosting", "local-models", "settings", "configuration", "upgrading")),
)


@functools.cache
def documents() -> dict[str, Document]:
    """All of them by name, in the order of the navigation."""
    guide = resources.files(__package__).joinpath("guide")
    found: dict[str, Document] = {}
    for section, names in GUIDE:
        for name in names:
            made = _GENERATED.get(name)
            text = made() if made else guide.joinpath(f"{name}.md").read_text(encoding="utf-8")
            found[name] = _document(name, section, text)
    for name, text in operation_documents():
        found[name] = _document(name, "API reference", text)
    return found


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
