"""Formats: nothing is loaded, nothing is executed, nothing breaks out of its place."""

import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from reports.document.compose import compose
from reports.render import html, markdown
from reports.render.csv import csv_text, harmless

EVIL = '<script>alert("x")</script><img src=x onerror=y>|[a](javascript:b)'


class Page(HTMLParser):
    """Collects the tags of a page and everything that a browser would load for it."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.loads, self.attributes, self.ids = set(), [], set(), []
        self.links = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name in ("src", "srcset", "data", "poster", "background") or (
                tag == "link" and name == "href"
            ):
                self.loads.append(value)
            if tag == "a" and name == "href":
                self.links.append(value)
            if name == "id":
                self.ids.append(value)


@pytest.fixture
def evil_sweep(write, make_cell):
    """A sweep whose name, axis values, samplers, ids and messages are attacks."""
    cells = [
        make_cell(
            {"model.name": name}, {"kind": "heun", "num_steps": 9}, 4.0, cell_id=f"c{n}", train_id=f"<t{n}>"
        )
        for n, name in enumerate((EVIL, "=1+1"))
    ]
    attacks = {"failures": [{"unit": EVIL, "message": EVIL}], "deviations": [EVIL], "command": EVIL}
    return write(cells, name=EVIL, **attacks)


def test_the_page_loads_nothing_and_runs_nothing(document):
    text = html.render(document)
    page = Page(text)
    assert page.loads
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "form", "base"}
    assert not [name for name in page.attributes if name.startswith("on") or name == "style"]
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text
    assert "@import" not in text


def test_the_policy_forbids_the_network_and_admits_exactly_this_style(document):
    text = html.render(document)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text).group(1)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL).group(1)
    assert policy.replace("&#39;", "'") == html.policy(style)
    assert "default-src 'none'" in html.policy(style)
    assert "unsafe" not in html.policy(style)


def test_links_lead_to_the_page_itself_or_to_files_beside_it(document):
    page = Page(html.render(document))
    assert len(set(page.ids)) == len(page.ids)
    for link in page.links:
        assert (
            link.removeprefix("#") in page.ids
            if link.startswith("#")
            else re.fullmatch(r"tables/\w+\.\w+", link)
        )


def test_html_in_names_and_values_stays_text(evil_sweep):
    text = html.render(compose(evil_sweep.read()))
    page = Page(text)
    assert "script" not in page.tags
    assert "onerror" not in page.attributes
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;" in text


def test_markup_in_names_and_values_stays_text_in_markdown(evil_sweep):
    text = markdown.render(compose(evil_sweep.read()))
    outside_code = re.sub(r"(?ms)^(`{3,})\n.*?\n\1$|`[^`\n]*`", "", text)
    assert not re.search(r"(?<!\\)<\w", outside_code)
    assert not re.search(r"(?<!\\)\]\(javascript", outside_code)
    tables = [line for line in outside_code.splitlines() if line.startswith("| ")]
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in tables if EVIL[:5] in line.replace("\\", "")}
    assert widths
    assert widths <= {len(re.findall(r"(?<!\\)\|", line)) for line in tables if EVIL[:5] not in line}


def test_a_fence_is_longer_than_any_inside():
    assert markdown.fence("a\n````\nb") == "`````\na\n````\nb\n`````"


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2+3", "@sum", "\tx", "\r=1", "-", "+1 "])
def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe(text):
    assert harmless(text) == "'" + text


@pytest.mark.parametrize("value", ["-1.5", "+3e-4", "C = 16", "", -1.5, 7, None])
def test_numbers_and_plain_text_are_left_alone(value):
    assert harmless(value) == value


def test_headers_of_a_csv_are_made_harmless_too():
    assert csv_text(pd.DataFrame({"=a": ["@b", "-1"], "n": [-0.5, 2.0]})) == "'=a,n\n'@b,-0.5\n-1,2.0\n"


def test_nothing_is_called_fid_that_is_not(document):
    page = re.sub(r"data:image/png;base64,[^\"]+", "", html.render(document))
    for text in (page, markdown.render(document)):
        assert not re.search(r"(?i)(?<![a-z])fid(?![a-z])", text)
        assert "fd_classifier" in text
