"""Our own documents as HTML."""

from tollway.web import markup

DOCUMENT = """# Title

<!-- a remark -->

Text with `code`.

## A `part`

```sh
echo "<hello>"
```

    indented

## A part

| a | b |
|---|---|
| 1 | 2 |

```klingon
<Qapla'>
```
"""


def test_the_title_and_the_headings_with_anchors_of_their_own() -> None:
    rendered = markup.render(DOCUMENT)
    assert rendered.title == "Title"
    found = [(heading.level, heading.anchor, heading.text) for heading in rendered.headings]
    assert found == [(2, "a-part", "A part"), (2, "a-part-2", "A part")]
    assert '<h2 id="a-part">A <code>part</code></h2>' in rendered.html
    assert "<h1" not in rendered.html
    assert "remark" not in rendered.html


def test_code_stands_under_its_language_and_is_escaped() -> None:
    html = markup.render(DOCUMENT).html
    assert html.count("<figure") == html.count("data-copy") == html.count("</figure>") == 3
    assert "<figcaption>Shell</figcaption>" in html
    assert "<figcaption>Text</figcaption>" in html
    assert '<span class="s">&quot;&lt;hello&gt;&quot;</span>' in html
    assert "<code>&lt;Qapla&#x27;&gt;</code>" in html


def test_a_table_scrolls_by_itself() -> None:
    html = markup.render(DOCUMENT).html
    assert html.count('<div class="scroll" tabindex="0" role="group" aria-label="Table"><table>') == 1
    assert html.count("</table></div>") == 1
