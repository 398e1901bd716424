"""The paper's tables, audit and claims as one HTML page in the look of the study reports."""

from __future__ import annotations

import re
from importlib import resources

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup, escape

from vicinal.claims import Verdict
from vicinal.paper.audit import BOUND_WORDS
from vicinal.paper.finding import KIND_WORDS
from vicinal.paper.show import CITATION, MARK_NOTE, PRINTED_RULE, Shown, counted
from vicinal.paper.tables import DATA_SETS
from vicinal.version import __version__

VERDICT_CLASSES: dict[Verdict, str] = {  # of the style sheet
    "supported": "yes",
    "holds as printed": "yes",
    "contradicted": "no",
    "fails as printed": "no",
    "no difference": "undecided",
    "undecided": "undecided",
    "open as printed": "undecided",
    "not testable": "fact",
    "no data": "fact",
}


def html_page(shown: Shown) -> str:
    """One HTML file that needs nothing else."""
    # Read as files: importing vicinal.report would bring the drawing libraries.
    root = resources.files("vicinal")
    places = {"report": ("report.html.j2", "paper_part.html.j2", "paper_part.css.j2"), "paper": ("paper.html.j2",)}
    templates = {
        name: root.joinpath(folder, name).read_text(encoding="utf-8")
        for folder, names in places.items()
        for name in names
    }
    environment = Environment(
        loader=DictLoader(templates), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["typeset"] = typeset
    return environment.get_template("paper.html.j2").render(
        title="The paper’s numbers and claims",
        version=__version__,
        citation=CITATION,
        findings=[(words, [f for f in shown.findings if f.kind == kind]) for kind, words in KIND_WORDS.items()],
        bound_words=BOUND_WORDS,
        mark_note=MARK_NOTE,
        counted=counted(shown.judgements),
        rule=PRINTED_RULE,
        judgements=list(enumerate(shown.judgements)),
        by_data=[(label, shown.by_data[data]) for data, label in DATA_SETS.items()],
        verdict_classes=VERDICT_CLASSES,
        tables=shown.tables,
        paper="https://arxiv.org/abs/2606.12171",
        licence="https://creativecommons.org/licenses/by/4.0/",
    )


def typeset(text: str) -> Markup:
    """Escaped text with the indices of Δ_lin and σ_t as subscripts."""
    return Markup(re.sub(r"([A-Za-zΔσ])_([a-z]+)\b", r"\1<sub>\2</sub>", str(escape(text))))  # noqa: S704
