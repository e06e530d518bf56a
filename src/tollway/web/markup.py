"""Markdown and code to HTML. For our own documents: what callers and models write never comes through here."""

import itertools
import re
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup
from msgspec import Struct
from pygments.lexers import get_lexer_by_name
from pygments.token import Token as Kind
from pygments.util import ClassNotFound

# Few colours: more would be a fairground. The first one that a token's kind lies in wins.
_CLASSES = (
    (Kind.Comment, "c"),
    (Kind.Name.Tag, "p"),
    (Kind.Name.Attribute, "p"),
    (Kind.Literal.String.Other, ""),
    (Kind.Literal.String, "s"),
    (Kind.Literal.Number, "n"),
    (Kind.Keyword.Constant, "n"),
    (Kind.Keyword, "k"),
    (Kind.Name.Function, "f"),
    (Kind.Name.Builtin, "f"),
)
_LANGUAGE_NAMES = {
    "sh": "Shell",
    "python": "Python",
    "javascript": "JavaScript",
    "json": "JSON",
    "toml": "TOML",
    "text": "Text",
    "ini": "systemd",
    "nginx": "nginx",
    "caddy": "Caddyfile",
    "http": "HTTP",
}


class Heading(Struct):
    """One entry of a page's table of contents."""

    level: int
    anchor: str
    text: str


class Rendered(Struct):
    """A document as HTML, and what is in it."""

    title: str
    html: Markup
    headings: list[Heading]
    """Without the title."""


def highlight(code: str, language: str) -> Markup:
    """Code as HTML, in as few elements as its colours need."""
    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return Markup(escape(code))  # noqa: S704
    pieces: list[str] = []
    for kind, text in lexer.get_tokens(code):
        css = next((name for outer, name in _CLASSES if kind in outer), "")
        pieces.append(f'<span class="{css}">{escape(text)}</span>' if css and not text.isspace() else escape(text))
    return Markup("".join(pieces))  # noqa: S704 - every piece was escaped


def code_block(code: str, language: str) -> Markup:
    """A block of code under its language's name. The copy button comes with the script, because it needs one."""
    name = escape(_LANGUAGE_NAMES.get(language, language))
    return Markup(  # noqa: S704
        f'<figure class="code" data-copy><figcaption>{name}</figcaption>'
        f'<pre tabindex="0" role="group" aria-label="{name} code">'
        f"<code>{highlight(code.rstrip(), language)}</code></pre></figure>"
    )


def render(markdown: str) -> Rendered:
    """A document whose first heading is its title."""
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = [token for token in parser.parse(markdown) if token.type != "html_block"]
    headings: list[Heading] = []
    for token, inline in itertools.pairwise(tokens):
        if token.type == "heading_open":
            text = _plain(inline)
            headings.append(Heading(int(token.tag[1]), _anchor(text, headings), text))
            token.attrSet("id", headings[-1].anchor)
    first = next((n for n, token in enumerate(tokens) if token.type == "heading_close"), -1)
    parser.add_render_rule("fence", _fence)
    parser.add_render_rule("code_block", _fence)
    parser.add_render_rule("table_open", lambda *_: '<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>')
    parser.add_render_rule("table_close", lambda *_: "</table></div>")
    html = parser.renderer.render(tokens[first + 1 :], parser.options, {})
    return Rendered(headings[0].text if headings else "", Markup(html), headings[1:])  # noqa: S704 - our own documents


def _fence(_: Any, tokens: list[Token], index: int, *__: Any) -> str:
    return str(code_block(tokens[index].content, tokens[index].info.strip() or "text"))


def _plain(inline: Token) -> str:
    return "".join(child.content for child in inline.children or () if child.type in {"text", "code_inline"})


def _anchor(text: str, taken: list[Heading]) -> str:
    anchor = re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-") or "section"
    used = {heading.anchor for heading in taken}
    return next(name for name in (anchor, *(f"{anchor}-{n}" for n in range(2, 100))) if name not in used)
