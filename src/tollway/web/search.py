"""Search over the documentation, the API reference and the catalogue. A few hundred entries: a scan is faster than an index."""

import functools
import re
from collections.abc import Iterator

from msgspec import Struct

from tollway.catalog import Catalog
from tollway.web import docs

RESULTS_MAX = 20
_EXCERPT_LENGTH = 160
_WORD = re.compile(r"[\w.-]+")
_UNSEEN = re.compile(r"^```[^\n]*|<!--.*?-->", re.MULTILINE | re.DOTALL)
"""The language of a block of code, and remarks."""
_MARKS = re.compile(r"[`*#|>]+|\[([^\]]*)\]\([^)]*\)")


class Entry(Struct, frozen=True):
    """One thing that can be found: a section of a page, or a model."""

    title: str
    page: str
    path: str
    text: str


class Hit(Struct, frozen=True):
    """A result as it is shown."""

    title: str
    page: str
    path: str
    excerpt: str


def search(query: str, catalog: Catalog) -> list[Hit]:
    """The best entries first. All words must be there; the last one may be unfinished."""
    words = [word.lower() for word in _WORD.findall(query)[:8]]
    if not words:
        return []
    scored = [(score, entry) for entry in (*_models(catalog), *_sections()) if (score := _score(entry, words))]
    scored.sort(key=lambda pair: -pair[0])
    return [Hit(entry.title, entry.page, entry.path, _excerpt(entry.text, words)) for _, entry in scored[:RESULTS_MAX]]


def _score(entry: Entry, words: list[str]) -> float:
    """0 = no hit. A word in the title is worth more than one in the text, a whole one more than a beginning."""
    title, page, text = entry.title.lower(), entry.page.lower(), entry.text.lower()
    total = 0.0
    for word in words:
        whole = re.compile(rf"\b{re.escape(word)}\b")
        worth = 12.0 if whole.search(title) else 6.0 if word in title else 0.0
        worth += 5.0 if whole.search(page) else 2.0 if word in page else 0.0
        worth += min(len(whole.findall(text)), 5) or (0.5 if word in text else 0.0)
        if not worth:
            return 0.0
        total += worth
    return total


def _excerpt(text: str, words: list[str]) -> str:
    at = min((found for found in (text.lower().find(word) for word in words) if found >= 0), default=0)
    start = max(0, at - _EXCERPT_LENGTH // 3)
    piece = text[start : start + _EXCERPT_LENGTH].strip()
    return ("… " if start else "") + piece + (" …" if start + _EXCERPT_LENGTH < len(text) else "")


def _models(catalog: Catalog) -> Iterator[Entry]:
    for model in catalog.models:
        words = " ".join((model.id, *model.aliases, model.developer, model.description, *model.capabilities))
        yield Entry(model.name, "Models", f"/catalog/{model.id}", words)


@functools.cache
def _sections() -> tuple[Entry, ...]:
    """Each document cut at its headings."""
    entries: list[Entry] = []
    for document in docs.documents().values():
        headings = iter([None, *docs.rendered(document.name, docs.WRITTEN_FOR).headings])
        for part in re.split(r"^#{1,6} ", _without_code_comments(document.markdown), flags=re.MULTILINE)[1:]:
            heading = next(headings, None)
            _, _, text = part.partition("\n")
            anchor = f"#{heading.anchor}" if heading else ""
            title = heading.text if heading else document.title
            clean = " ".join(_MARKS.sub(r"\1", _UNSEEN.sub("", text)).split())
            entries.append(Entry(title, document.title, document.path + anchor, clean))
    return tuple(entries)


def _without_code_comments(markdown: str) -> str:
    """A `# comment` in a block of code is no heading."""
    return re.sub(r"^```.*?^```", lambda block: block[0].replace("\n#", "\n #"), markdown, flags=re.MULTILINE | re.DOTALL)
