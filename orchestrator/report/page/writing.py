"""Renders the page as one HTML file from templates. All values are escaped, and the file loads nothing else."""

from __future__ import annotations

import base64
import gzip
import json
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from orchestrator.errors import RunDirectoryError
from orchestrator.record import PAGE, RecordedRun
from orchestrator.report.page.content import content_of
from orchestrator.report.page.plot import Plot
from orchestrator.report.page.record import PageRecord
from trainables.storage import reason


def write_page(run: RecordedRun) -> str:
    """Write the page of a search into its run directory, and return the location of the page.

    Raises:
        RunDirectoryError: the record is corrupt, or the page cannot be written.
    """
    page, folder = make_page(PageRecord.read(run)), run.directory.folder
    try:
        folder.write(PAGE, page)
    except OSError as error:
        raise RunDirectoryError(f"{folder / PAGE} cannot be written: {reason(error)}") from error
    return (folder / PAGE).location


def make_page(record: PageRecord) -> bytes:
    """Make the page of a search. Writes nothing.

    Raises:
        RunDirectoryError: the record is invalid.
    """
    return render("page.html.jinja", page=content_of(record)).encode()


def render(template: str, **values: object) -> str:
    """Render a template of this package."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("orchestrator.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "inlined": _inlined,
        "packed_plotly": _packed_plotly,
        "packed_json": packed_json,
        "figure_json": figure_json,
        "Markup": Markup,
    }
    return environment


def figure_json(plot: Plot) -> Markup:
    """Return the figure as JSON, escaped so that its text cannot end the `<script>` element that holds it."""
    assert plot.figure is not None, "the template draws only plots that have a figure"
    text = plot.figure.to_json()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _inlined(name: str) -> Markup:
    """Return a style sheet or a script of this package."""
    return Markup((resources.files("orchestrator.report.page") / "templates" / name).read_text(encoding="utf-8"))


@cache
def _packed_plotly() -> Markup:
    """Return plotly's script, packed: the page has two megabytes instead of five."""
    from plotly.offline import get_plotlyjs

    return _packed(get_plotlyjs())


def packed_json(value: object) -> Markup:
    """Return a value as packed JSON, which the page's script unpacks when it is needed."""
    return _packed(json.dumps(value))


def _packed(text: str) -> Markup:
    """Compress a text, and return it in base64."""
    return Markup(base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode())
