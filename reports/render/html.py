"""A report as one HTML file that loads nothing: styles inline, pictures as data, no scripts."""

import base64
import hashlib
from pathlib import Path

import jinja2
from markupsafe import Markup

from reports.document.compose import Document

HERE = Path(__file__).parent


def render(document: Document) -> str:
    """The whole report; every value is escaped by the template engine."""
    style = (HERE / "report.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = data_uri
    # The style sheet is a file of this package, and the policy admits its exact text only.
    return environment.get_template("report.html.j2").render(
        document=document, ran=document.what_ran, style=Markup(style), policy=policy(style)
    )


def policy(style: str) -> str:
    """Content security policy: nothing from the network, no scripts, and no styles but this one."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def data_uri(png: bytes) -> str:
    """A PNG as a data: URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
