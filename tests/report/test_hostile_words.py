"""Names and titles of results.json are text wherever the report shows them: no tag, script, formula, mathematics or home folder."""

from __future__ import annotations

import csv
import io
import json
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from html.parser import HTMLParser
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_up_optional import add_optional
from made_up_paper import make_paper_results
from made_up_results import write_results

from vicinal.report import write_report
from vicinal.report.paper.latex import latex_escape
from vicinal.report.paper.plain_svg import plain_svg
from vicinal.report.tables.core import csv_text
from vicinal.report.words import inert, inert_markdown

ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40)
HOSTILE = [
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "</title></svg><script>x</script>", "{{ 7*7 }}{% raw %}",
    "<!-- index -->", "$\\frac{1}{$", "$x", "a$b$c", "=HYPERLINK(1)", "+1", "-1+1", "@SUM(A1)", "\x00\x1b[31m",
    "\ud7ff\ufffe\uffff", "a\nb\r\tc", "\u202egnp.exe", "猫 देवनागरी עברית", "& &amp; <b>", "]]>", "\\input{/etc/passwd}%",
    "[x](javascript:alert(1))", "| a | b |", "' onload='x", "url(#x)", 'a id="x"', "#0a0b01", "*", "[x]", " =1", "Δ_lin", "x" * 300,
]  # fmt: skip
ALLOWED = {
    "a", "abbr", "article", "b", "body", "br", "button", "caption", "code", "dd", "details", "div", "dl", "dt", "em", "figcaption",
    "figure", "footer", "h1", "h2", "h3", "h4", "head", "header", "html", "li", "link", "main", "meta", "nav", "ol", "p", "pre",
    "section", "small", "span", "strong", "style", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "title",
    "tr", "ul", "svg", "g", "path", "rect", "circle", "defs", "clippath", "use", "text", "tspan", "i",
}  # fmt: skip
VOID = {"meta", "br", "link", "path", "rect", "circle", "use"}


def renamed(raw: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """Every name that a user, or who prepared the data, chooses becomes one of these words, one after the other."""
    word = cycle(words)
    text = json.dumps(raw)
    for name in ("calibrated", "overconfident", "third", "fourth"):
        text = text.replace(f'"{name}"', json.dumps(f"{next(word)} {name}"))
    found: dict[str, Any] = json.loads(text)
    for key in ("title", "description", "study", "command"):
        found[key] = next(word)
    found["data"] |= {"name": next(word), "source": next(word), "notes": [next(word)]}
    found["data"]["class_names"][3] = next(word)
    found["environment"] |= {"processor": next(word), "platform": next(word)}
    arm, model = next(word), next(word)
    for student in found["students"]:
        student["arm"] = f"{arm} arm" if student["arm"] == "kd" else student["arm"]
        student["model"] = model
    return found


class Page(HTMLParser):
    """Checks tags as they come."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.shown: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED, tag
        for key, value in attrs:
            assert not key.startswith("on"), (tag, key)
            if key in ("href", "src", "xlink:href"):
                assert re.match(r"#|https://arxiv\.org/|runs/[\w.+@=-]+/weights\.safetensors$", value or ""), value
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.shown.append(data)


def check_report(folder: Path, title: str) -> None:
    for file in sorted(folder.rglob("*")):
        text = file.read_text(encoding="utf-8") if file.is_file() and file.name != "results.json" else ""
        assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff\u202e]", text), file
        if file.suffix == ".svg":
            for element in ET.fromstring(text).iter():
                assert element.tag.rpartition("}")[2].lower() in ALLOWED
                assert not any(key.startswith("on") for key in element.attrib)
        if file.suffix == ".csv":
            rows = list(csv.reader(io.StringIO(text)))
            assert len({len(row) for row in rows}) == 1, file
            for cell in (cell for row in rows for cell in row):
                if cell.strip()[:1] in ("=", "+", "-", "@"):
                    float(cell)
        if file.suffix == ".md":
            assert "](" not in text
            assert not re.search(r"<[A-Za-z/!?]", text)
    page = Page()
    page.feed((folder / "report.html").read_text(encoding="utf-8"))
    page.close()
    assert not page.open
    assert "".join(inert(title).split()) in "".join("".join(page.shown).split()).replace("\u00a0", "")


def small_results() -> dict[str, Any]:
    return add_optional(make_paper_results(seeds=(0,), temperatures=(2.0,)))


@pytest.mark.parametrize("start", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(8, len(HOSTILE), 8))])
def test_hostile_words_are_words_in_every_file(tmp_path: Path, capfd: pytest.CaptureFixture[str], start: int):
    words = HOSTILE[start:] + HOSTILE[:start]
    results = renamed(small_results(), words)
    write_results(tmp_path, results)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_report(tmp_path)
    check_report(tmp_path, results["title"])
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(words=st.lists(ANY_TEXT, min_size=1, max_size=6))
def test_any_words_are_words_in_every_file(tmp_path_factory: pytest.TempPathFactory, words: list[str]):
    folder = tmp_path_factory.mktemp("report")
    results = renamed(small_results(), words)
    write_results(folder, results)
    write_report(folder)
    check_report(folder, results["title"])


# --- each by itself ---------------------------------------------------------------------------------------------------


@given(
    st.recursive(
        st.none() | st.floats() | st.integers() | ANY_TEXT, lambda x: st.lists(x) | st.dictionaries(ANY_TEXT, x)
    )
)
def test_inert_twice_is_inert_once_and_numbers_stay(value: Any):
    once = inert(value)
    assert json.dumps(inert(once)) == json.dumps(once)
    if isinstance(value, float | int):
        assert once is value


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/ada/images/x.yaml", "~/images/x.yaml"),
        ("vicinal run '/Users/Ada L/x'", "vicinal run '~ L/x'"),
        ("/root/images and /root", "~/images and ~"),
        ("C:\\Users\\ada\\x", "~\\x"),
        ("data/home/x", "data/home/x"),
        ("/rooted/x and a/root/x", "/rooted/x and a/root/x"),
    ],
)
def test_no_home_is_named(text: str, shown: str):
    assert inert(text) == shown


def test_this_users_home_wherever_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/srv/people/ada")
    assert inert("run /srv/people/ada/x.yaml --out /srv/people/adam/y") == "run ~/x.yaml --out /srv/people/adam/y"


@given(st.lists(st.tuples(ANY_TEXT.map(inert), st.floats(allow_nan=False) | st.integers()), max_size=5))
@example([("=1+1", -0.5), (" \u00a0@x", -3)])
def test_cells_of_text_are_no_formulas_and_numbers_stay(lines: list[tuple[str, float]]):
    rows = list(csv.reader(io.StringIO(csv_text(["name", "value"], lines))))[1:]
    for (text, number), (cell, value) in zip(lines, rows, strict=True):
        assert value == str(number)
        assert cell in (text, f"'{text}")
        assert cell.strip()[:1] not in ("=", "+", "-", "@")


@given(ANY_TEXT)
def test_markdown_has_no_tags_and_links(text: str):
    shown = inert_markdown(text)
    assert "](" not in shown
    assert not re.search(r"<[A-Za-z/!?]", shown)


@given(ANY_TEXT.map(inert))
@example("\\input{x}%$&#_^~")
def test_latex_has_no_command_of_the_texts_own(text: str):
    left = re.sub(
        r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar|dots)\{\}|\\[&%$#_{}]",
        "",
        latex_escape(text),
    )
    left = re.sub(r"\$[^$]*\$", "", left).replace("{[}", "").replace("{]}", "").replace("{*}", "")
    assert not re.search(r"[\\&%$#_{}^\[\]*]", left)


# --- a drawing from outside -------------------------------------------------------------------------------------------

DRAWING = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">'
    "<title>a &lt;b&gt;</title><defs>"
    '<style>*{stroke-linejoin: round}</style><path id="p" d="M0 0h9" style="fill: #fff; stroke: none"/></defs><g clip-path="url(#c)">'
    '<use xlink:href="#p" x="1"/><text style="font-family: \'Noto Sans\', serif">ab</text>'
    '<image width="1" height="1" xlink:href="data:image/png;base64,iVBO\nRw0="/></g></svg>'
)


def test_a_plain_drawing_is_written_anew():
    assert plain_svg(f'<?xml version="1.0"?><!-- by --><?x y?>{DRAWING}', "toy") == (
        '<svg viewBox="0 0 9 9"><title>a &lt;b&gt;</title><defs>'
        '<path id="toy-p" d="M0 0h9" style="fill:#fff;stroke:none"></path></defs>'
        '<g clip-path="url(#toy-c)"><use href="#toy-p" x="1"></use><text style="font-family:&#x27;Noto Sans&#x27;, serif">ab</text>'
        '<image width="1" height="1" href="data:image/png;base64,iVBO Rw0="></image></g></svg>'
    )


def with_part(part: str) -> str:
    return DRAWING.replace("</svg>", f"{part}</svg>")


@pytest.mark.parametrize(
    "svg",
    [
        with_part("<script>alert(1)</script>"),
        with_part('<script xlink:href="x.js"/>'),
        with_part('<g onclick="x()"/>'),
        with_part('<g xmlns:e="http://www.w3.org/2001/xml-events" e:event="load"/>'),
        with_part("<foreignObject><p xmlns='http://www.w3.org/1999/xhtml'>x</p></foreignObject>"),
        with_part('<a href="javascript:alert(1)"><text>x</text></a>'),
        with_part('<use href="https://example.org/x.svg#p"/>'),
        with_part('<image href="https://example.org/x.png"/>'),
        with_part('<image href="data:image/svg+xml;base64,PHN2Zz4="/>'),
        with_part('<animate attributeName="href" to="javascript:x"/>'),
        with_part('<set attributeName="onload" to="x"/>'),
        with_part('<g style="background: url(https://example.org/x)"/>'),
        with_part('<g style="fill: url(https://example.org/x#y)"/>'),
        with_part("<g style=\"fill: image-set('https://example.org/x')\"/>"),
        with_part('<g style="position: fixed"/>'),
        with_part('<g fill="u\\72l(x)"/>'),
        with_part("<filter/>"),
        with_part("<title><b>x</b></title>"),
        with_part('<g id="a b"/>'),
        with_part('<g id="a"><use id="b" href="#a"/></g>'),
        with_part('<g id="a"><use href="#p"/></g><g id="b"><use href="#a"/><use href="#a"/></g>'),
        with_part('<x:g xmlns:x="urn:x"/>'),
        '<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + with_part("<text>&b;</text>"),
        '<!DOCTYPE svg SYSTEM "file:///etc/passwd">' + DRAWING,
        '<?xml-stylesheet href="x.css"?>' + DRAWING.replace("</g>", ""),
        with_part("<g>" * 60 + "</g>" * 60),
        DRAWING.replace("http://www.w3.org/2000/svg", "urn:x"),
        "<html/>",
        "",
        "\x00",
        "\ud800",
    ],
)
def test_what_runs_loads_or_grows_is_no_plain_drawing(svg: str):
    assert plain_svg(svg, "toy") is None


def test_an_instruction_hides_nothing():
    shown = plain_svg(f"<?x ><img/src='#'/onerror=alert(1)>?>{with_part('<?x ><script>alert(1)</script>?>')}", "toy")
    assert shown is not None
    assert "img" not in shown
    assert "script" not in shown


@given(ANY_TEXT)
def test_text_of_a_drawing_stays_text(text: str):
    from html import escape, unescape

    shown = plain_svg(with_part(f"<text>{escape(text)}</text>"), "toy")
    if shown is not None:  # None: a character that XML has not
        assert unescape(shown.rpartition("<text>")[2].removesuffix("</text></svg>")) == text.replace(
            "\r\n", "\n"
        ).replace("\r", "\n")
