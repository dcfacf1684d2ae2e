"""Follow every link: no page is broken, and each is a page that a browser and a screen reader can read."""

import re
from collections import Counter, deque
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin, urlsplit

import httpx
import pytest

from medfake_pacs.console.security.permissions import Role
from tests import material
from tests.console_studies import fake_from, studies_of
from tests.console_support import ConsoleServer, console_settings, running_console

_MAXIMUM_PAGES = 150
# Of pages whose addresses differ in a number or in conditions only, so many are looked at.
_ALIKE = 8
_READER = {"/worklist", "/account", "/api-reference"}
_NODE = {"/log", "/statistics", "/node", "/node/deliveries", "/node/notifications", "/node/configuration"}
_LANDMARKS = {
    Role.VIEWER: _READER | {"/checks"},
    Role.RADIOLOGIST: _READER | {"/checks"},
    Role.AUDITOR: _READER | _NODE,
    Role.ADMINISTRATOR: _READER | _NODE | {"/checks", "/accounts"},
}
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
# The parser knows nothing of SVG, whose elements may end themselves.
_FOREIGN = {"svg", "math"}
_LABELLED = {"input", "select", "textarea"}
_UNLABELLED_TYPES = {"hidden", "submit", "button", "image", "reset"}
_OPTIONAL_END = {"p", "li", "dt", "dd", "td", "th", "tr", "option", "thead", "tbody", "html", "body", "head"}


class _Page(HTMLParser):
    """What a page says, and what is wrong with it."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.references: list[str] = []
        self._open: list[str] = []
        self._fields: list[tuple[str, bool]] = []
        self._labels: set[str] = set()
        self._title = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.counts[tag] += 1
        for name, count in Counter(name for name, _ in attrs).items():
            if count > 1:
                self.faults.append(f"<{tag}> has {name} {count} times")
        self._scripts(tag, given)
        if "id" in given:
            self.ids[given["id"]] += 1
        for name in ("aria-labelledby", "aria-describedby", "aria-controls"):
            self.references += given.get(name, "").split()
        if tag in {"a", "link", "script", "img", "iframe"}:
            self.links += [given[name] for name in ("href", "src") if given.get(name)]
        if tag == "html" and not given.get("lang"):
            self.faults.append("no language")
        if tag == "img" and "alt" not in given:
            self.faults.append("an image without alternative text")
        if tag == "label" and given.get("for"):
            self._labels.add(given["for"])
            self.references.append(given["for"])
        if tag in _LABELLED and given.get("type") not in _UNLABELLED_TYPES:
            labelled = "aria-label" in given or "aria-labelledby" in given or "label" in self._open
            self._fields.append((given.get("id", ""), labelled))
        if tag not in _VOID:
            self._open.append(tag)

    def _scripts(self, tag: str, given: dict[str, str]) -> None:
        if tag == "style" or "style" in given:
            self.faults.append(f"inline style in <{tag}>")
        if tag == "script" and "src" not in given and given.get("type", "") not in {"application/json"}:
            self.faults.append("inline script")
        self.faults += [f"{name} in <{tag}>" for name in given if name.startswith("on")]
        if given.get("href", "").strip().lower().startswith(("javascript:", "data:")):
            self.faults.append(f"a script as address in <{tag}>")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()
            if not _FOREIGN & set(self._open) and tag not in _FOREIGN:
                self.faults.append(f"<{tag}/> doesn't end itself in HTML")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open[-1] != tag and self._open[-1] in _OPTIONAL_END:
            self._open.pop()
        if not self._open or self._open[-1] != tag:
            self.faults.append(f"</{tag}> ends {self._open[-1:] or 'nothing'}")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["title"] and "svg" not in self._open:
            self._title += data

    def all_faults(self) -> list[str]:
        """Return what is wrong, in words."""
        faults = list(self.faults)
        faults += [f"the id {name!r} is there {count} times" for name, count in self.ids.items() if count > 1]
        faults += [f"nothing has the id {name!r}" for name in set(self.references) if name not in self.ids]
        faults += [
            f"{name!r} has no label" for name, labelled in self._fields if not labelled and name not in self._labels
        ]
        if self.counts["h1"] != 1:
            faults.append(f"{self.counts['h1']} level 1 headings")
        if self.counts["main"] != 1:
            faults.append(f"{self.counts['main']} main parts")
        if not self._title.split("·")[0].strip():
            faults.append("no title")
        return faults


def _faults(text: str) -> tuple[list[str], list[str]]:
    page = _Page()
    page.feed(text)
    page.close()
    return page.all_faults(), page.links


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleServer]:
    """Yield a console on a node with three studies, one of them hostile."""
    folder = tmp_path_factory.mktemp("console")
    destination = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 4242}
    target = {"name": "<b>hook", "kind": "webhook", "on": ["fake", "real"], "url": "https://hook.example"}
    route = {"name": "CT", "modality": ["CT"], "model": "lung-ct", "send_to": ["pacs"]}
    peer = {"ae_title": "PACS1", "hosts": ["127.0.0.1"]}
    extra = {"destinations": [destination], "notifications": [target], "routes": [route], "peers": [peer]}
    settings = console_settings(folder, extra=extra)
    with running_console(settings) as running, studies_of(settings, running.engine, folder) as studies:
        studies.make(material.ct_series(3), fake_from(2, 2))
        studies.make(material.ct_series(2, seed=1))
        hostile = material.ct_series(1, seed=2)
        hostile[0].PatientID = "<script>alert(1)</script>"
        hostile[0].StudyDescription = '"><img src=x onerror=alert(1)>'
        studies.make(hostile, lambda _row: None)
        yield running


def _crawl(client: httpx.Client, start: str) -> dict[str, tuple[int, list[str]]]:
    """Return status and faults of each page that links lead to, breadth first."""
    found: dict[str, tuple[int, list[str]]] = {}
    waiting, asked, patterns = deque([start]), {start}, Counter[str]()
    while waiting and len(found) < _MAXIMUM_PAGES:
        address = waiting.popleft()
        answer = client.get(address, follow_redirects=True)
        faults: list[str] = []
        if answer.headers.get("content-type", "").startswith("text/html"):
            faults, links = _faults(answer.text)
            for link in links:
                target = urldefrag(urljoin(str(answer.url), link)).url
                parts = urlsplit(target)
                if parts.netloc != urlsplit(str(client.base_url)).netloc:
                    faults.append(f"a link to another host: {target}")
                    continue
                pattern = re.sub(r"\d[\d.]*", "0", parts.path)
                if target not in asked and patterns[pattern] < _ALIKE:
                    patterns[pattern] += 1
                    asked.add(target)
                    waiting.append(target)
        found[address] = (answer.status_code, faults)
    return found


@pytest.mark.parametrize("role", list(Role))
def test_every_link_leads_to_a_good_page(console: ConsoleServer, role: Role) -> None:
    client = console.signed_in(role)
    found = _crawl(client, f"{console.url}/")
    wrong = {address: (status, faults) for address, (status, faults) in found.items() if status >= 400 or faults}
    assert not wrong
    paths = {urlsplit(address).path for address in found}
    assert paths >= _LANDMARKS[role]
    assert any(path.startswith("/studies/") for path in paths)
    if role in {Role.VIEWER, Role.RADIOLOGIST}:
        assert not any(path.startswith(("/node", "/log", "/accounts")) for path in paths)


@pytest.mark.parametrize("path", ["/sign-in", "/register", "/nowhere", "/node/deliveries?state=lost"])
def test_pages_for_strangers_and_errors_are_good_pages(console: ConsoleServer, path: str) -> None:
    for client in (console.anonymous(), console.signed_in(Role.ADMINISTRATOR)):
        answer = client.get(path, follow_redirects=True)
        assert answer.status_code < 500
        faults, _links = _faults(answer.text)
        assert not faults


def test_the_checker_finds_faults() -> None:
    text = '<html><title></title><p style="x" id="a"><input id="a"><script>1</script><b></p><a href="javascript:">'
    faults, _links = _faults(text)
    expected = ("no language", "inline style", "inline script", "'a' is there 2", "no label", "a script as", "no title")
    assert [each for each in expected if not any(each in fault for fault in faults)] == []
