"""The report in a real browser: it fits a phone, shows in both widths, and prints whole."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from made_up_optional import add_optional
from made_up_paper import make_paper_results
from made_up_results import SHAPES, make_results, write_results
from PIL import Image

from vicinal.report import write_report

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine, so the report cannot be looked at"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    return write_report(write_results(tmp_path_factory.mktemp("study") / "quickstart", make_results()))


def chromium(profile: Path, *arguments: str) -> str:
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile / 'profile'}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def quickstart_with_further_measures():
    """What a quickstart measures today: everything but what has to be asked for."""
    results = add_optional(make_results())
    for model in results["teachers"] + results["students"]:
        for asked in ("corruptions", "representation", "ood_auroc"):
            del model[asked]
    return results


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext on this machine, so a PDF cannot be read")
@pytest.mark.parametrize("kind", ["quickstart", pytest.param("everything", marks=pytest.mark.slow)])
def test_the_report_prints_whole(tmp_path, kind):
    """Every heading, also of what is folded on a screen, the last cells of the widest tables, every claim and the study itself."""
    results = quickstart_with_further_measures() if kind == "quickstart" else add_optional(make_paper_results())
    page, pdf = write_report(write_results(tmp_path / "study", results)), tmp_path / "report.pdf"
    chromium(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={pdf}", page.as_uri())
    printed = squeezed(
        subprocess.run(["pdftotext", "-raw", str(pdf), "-"], check=True, capture_output=True, text=True).stdout
    )
    html = page.read_text(encoding="utf-8")
    headings = re.findall(r"<(h1|h2|h3|summary)>(.*?)</\1>", html, re.DOTALL)
    assert len(headings) > 25
    cells = re.findall(r'<(td) class="words">(.*?)</td>', html) + re.findall(
        r"<(th) scope=\"col\"[^>]*>(.*?)</th>", html
    )
    for _, text in headings + cells:
        assert squeezed(unescape(re.sub(r"<[^>]*>", "", text))) in printed, text
    assert squeezed(results["spec"]["name"]) in printed
    # Nothing hangs over the edge: the longest row of every table ends inside the page.
    boxes = subprocess.run(["pdftotext", "-bbox", str(pdf), "-"], check=True, capture_output=True, text=True).stdout
    width = float(re.search(r'<page width="([\d.]+)"', boxes)[1])
    assert max(map(float, re.findall(r'xMax="([\d.]+)"', boxes))) < width


def squeezed(text: str) -> str:
    """Text without blanks, which a PDF places as it likes."""
    return re.sub(r"[\s\u00a0\u00ad-]+", "", text)


@pytest.mark.parametrize("width", [390, 1200])
def test_screenshots_show_the_report(page, tmp_path, width):
    picture = tmp_path / "page.png"
    # Chromium's window is at least 500 px wide, so a phone's width is that of a frame inside it.
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<body style="margin:0"><iframe src="{page.as_uri()}" style="width:{width}px;height:1400px;border:0">'
    )
    chromium(tmp_path, f"--window-size={max(width, 500)},1400", f"--screenshot={picture}", frame.as_uri())
    with Image.open(picture) as image:
        assert image.size == (max(width, 500), 1400)
        colours = image.convert("RGB").crop((0, 0, width, 1400)).getcolors(maxcolors=1 << 24)
    assert colours is not None
    # A blank page or an error page has few colours.
    assert len(colours) > 100


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("quickstart", "sigma_and_temperatures", "paper_best_test", "optional")
    ]
    + ["everything"],
)
def test_nothing_is_wider_than_a_phone(shape, tmp_path):
    special = {"everything": make_paper_results, "optional": lambda: add_optional(make_results(), ("USPS", "KMNIST"))}
    results = special[shape]() if shape in special else make_results(**SHAPES[shape])
    html = write_report(write_results(tmp_path / "study", results)).read_text(encoding="utf-8")
    html = html.replace("<details ", "<details open ")
    told = html.replace(
        "</body>",
        "<script>parent.postMessage([document.documentElement.scrollWidth, innerWidth].join('/'), '*')</script></body>",
    )
    copy = tmp_path / "copy.html"
    copy.write_text(told, encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(
        "<title></title><script>onmessage = event => document.title = event.data</script>"
        f'<iframe src="{copy.as_uri()}" style="width:390px;height:800px;border:0"></iframe>',
        encoding="utf-8",
    )
    title = re.search(
        r"<title>(\d+)/(\d+)</title>", chromium(tmp_path, "--dump-dom", "--virtual-time-budget=3000", frame.as_uri())
    )
    assert title is not None
    assert int(title[2]) == 390
    assert int(title[1]) <= 390
