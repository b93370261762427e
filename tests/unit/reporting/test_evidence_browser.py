"""The evidence page in a real browser: filters, keys and marks, as a reader uses them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from lgdea.evidence.backends.base import get_backend
from lgdea.evidence.runner import extract

_spec = util.spec_from_file_location("_evidence_page_fixtures", Path(__file__).with_name("test_evidence_page.py"))
invented = util.module_from_spec(_spec)
_spec.loader.exec_module(invented)

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


class Browser:
    """One tab, spoken to through Chromium's debugging pipe: JSON ended by a zero byte on descriptors 3 and 4."""

    def __init__(self, profile: Path) -> None:
        hears, self._tells = os.pipe()
        self._hears, tells = os.pipe()
        command = [CHROMIUM, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{hears} 4>&{tells}', "-", *command],
            pass_fds=(hears, tells),
            stderr=subprocess.DEVNULL,
        )
        os.close(hears)
        os.close(tells)
        self._count, self._read, self._session = 0, b"", {}
        self.complaints: list[Any] = []
        page = next(t for t in self("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": params, **self._session}
        os.write(self._tells, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._read:
                part = os.read(self._hears, 1 << 20)
                assert part, "the browser has gone"
                self._read += part
            line, _, self._read = self._read.partition(b"\0")
            answer = json.loads(line)
            if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(answer["params"])
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]

    def js(self, expression: str) -> Any:
        answer = self("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, page: Path, view: str = "") -> None:
        self("Page.navigate", url="about:blank")
        self("Page.navigate", url=f"{page.as_uri()}{view}")
        self.js("new Promise(r => document.readyState === 'complete' ? r() : addEventListener('load', () => r()))")

    def press(self, key: str) -> None:
        self("Input.dispatchKeyEvent", type="keyDown", key=key, **({"text": key} if len(key) == 1 else {}))
        self("Input.dispatchKeyEvent", type="keyUp", key=key)
        self.settle()

    def choose(self, name: str, value: str) -> None:
        control = f"document.querySelector('#filters [name={name}]')"
        self.js(f"{control}.value = {json.dumps(value)}")
        self.js(f"{control}.dispatchEvent(new Event('input', {{ bubbles: true }}))")
        self.settle()

    def settle(self) -> None:
        """Until the address has changed and the view is drawn."""
        self.js("new Promise(r => requestAnimationFrame(() => setTimeout(r, 100)))")

    def shown(self) -> list[str]:
        return self.js("[...document.querySelectorAll('.report')].map(r => r.dataset.report)")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._tells)
        os.close(self._hears)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    return invented.make_page(tmp_path_factory.mktemp("page"))


@pytest.fixture(autouse=True)
def nothing_went_wrong(browser) -> Iterator[None]:
    browser.complaints.clear()
    yield
    assert browser.complaints == []
    assert browser.js("window.hacked === undefined")


def test_every_report_is_drawn_letter_by_letter(browser, page):
    browser.open(page)
    texts = browser.js("Object.fromEntries([...document.querySelectorAll('.report')].map(r =>"
                       " [r.dataset.report, r.querySelector('.report-text').textContent]))")  # fmt: skip
    assert texts == {f"r:{k}": v or "no text" for k, v in invented.TEXTS.items()}
    assert browser.js("document.querySelectorAll('#list img, #list script, #list b b').length") == 0


def test_marks_are_the_quotes(browser, page):
    browser.open(page, "#report=r:emoji")
    assert browser.shown() == ["r:emoji"]
    marks = browser.js("[...document.querySelectorAll('.ev')].map(m => [m.textContent, m.className])")
    assert "".join(text for text, _ in marks[:2]) == "Right pneumothorax 🫀 is seen"
    assert marks[-1][0] == "No edema"
    assert "ev-absent" in marks[-1][1]
    rows = browser.js("[...document.querySelectorAll('.unit-list li')].map(r => r.innerText)")
    assert rows[0].split("\n")[0] == "pneumothorax"
    assert "A present" in rows[0]
    assert "B absent" in rows[0]


def test_what_was_passed_over_is_grey_and_says_why(browser, page):
    browser.open(page, "#report=r:plain")
    grey = browser.js("[...document.querySelectorAll('.passed-over')].map(p => [p.textContent, p.title])")
    assert grey == [
        ["COMPARISON:", "passed over: heading"],
        [" None.\n", "passed over: comparison"],
        ["FINDINGS:", "passed over: heading"],
        ["IMPRESSION:", "passed over: heading"],
    ]


def test_pointing_and_choosing_light_up_the_quote(browser, page):
    browser.open(page, "#report=r:emoji")
    browser.js("document.querySelector('.ev').dispatchEvent(new MouseEvent('mouseenter'))")
    assert browser.js("document.getElementById('tip').textContent") == "A pneumothorax: present\nB pneumothorax: absent"
    browser.js("document.querySelector('.unit-list li:last-child').click()")
    assert browser.js("[...document.querySelectorAll('.ev.lit')].map(m => m.textContent)") == ["No edema"]
    assert browser.js("document.querySelector('.unit-list li.lit .detail').textContent") == "findings · exact"


@pytest.mark.parametrize(
    ("name", "value", "reports"),
    [
        ("finding", "nodule", ["r:rtl"]),
        ("section", "impression", ["r:rtl"]),
        ("only", "differ", ["r:emoji", "r:plain"]),
        ("only", "tier-opposite", ["r:emoji"]),
        ("only", "only_a", ["r:plain"]),
        ("only", "only_b", []),
        ("only", "missed", ["r:silent"]),
        ("only", "refused", ["r:plain"]),
        ("only", "none", ["r:silent", "r:empty"]),
        ("class", "edema", ["r:silent"]),
        ("q", "LUNG nodule", ["r:rtl"]),
        ("q", "<img", ["r:hostile"]),
        ("q", "r:sil", ["r:silent"]),
        ("q", "nowhere to be found", []),
    ],
)
def test_filters(browser, page, name, value, reports):
    browser.open(page)
    assert len(browser.shown()) == 6
    browser.choose(name, value)
    assert browser.shown() == reports
    assert browser.js("document.getElementById('found').textContent").startswith(f"{len(reports)} of 6 reports")
    view = browser.js("location.hash")
    browser.open(page, view)  # the address alone brings the same view back
    assert browser.shown() == reports
    assert browser.js(f"document.querySelector('#filters [name={name}]').value") == value
    browser.js("document.getElementById('reset').click()")
    browser.settle()
    assert len(browser.shown()) == 6


def test_assertions_are_switched_off_and_on(browser, page):
    browser.open(page)
    for assertion in ("present", "uncertain"):
        browser.js(f"document.querySelector('.filter[data-assertion={assertion}]').click()")
        browser.settle()
    assert browser.shown() == ["r:emoji", "r:rtl"]
    browser.choose("finding", "edema")
    assert browser.shown() == ["r:emoji"]
    assert browser.js("[...document.querySelectorAll('.ev:not(.faint-mark)')].map(m => m.textContent)") == ["No edema"]


def test_what_is_not_asked_for_waits_behind_a_heading(browser, page):
    browser.open(page, "#finding=edema&off=present")
    assert browser.shown() == ["r:emoji"]
    heading = "document.querySelector('.unit-list summary').textContent"
    assert browser.js(heading) == "1 other unit"
    assert not browser.js("document.querySelector('.unit-list details').open")
    browser.js("document.querySelector('.ev.faint-mark').click()")  # its quote opens it
    assert browser.js("document.querySelector('.unit-list details').open")


def test_numbers_lead_to_their_reports(browser, page):
    browser.open(page)
    browser.js("""document.querySelector('#gold a[href*="only=missed"]').click()""")
    browser.settle()
    assert browser.shown() == ["r:silent"]
    browser.js("""document.querySelector('#refused a[href$="plain"]').click()""")
    browser.settle()
    assert browser.shown() == ["r:plain"]


def test_keys(browser, page):
    browser.open(page)
    focused = "document.activeElement.closest('.report')?.dataset.report"
    order = browser.shown()
    for key, report in (("j", order[0]), ("j", order[1]), ("j", order[2]), ("k", order[1])):
        browser.press(key)
        assert browser.js(focused) == report
    browser.press("/")
    for key in "jkn":
        browser.press(key)
    assert browser.js("document.querySelector('#filters [name=q]').value") == "jkn"
    assert browser.shown() == []


def test_thousands_of_reports_come_in_pages(browser, tmp_path):
    texts = {f"{n:04d}": f"FINDINGS: report number {n}." for n in range(3000)}
    archive = invented.make_archive(tmp_path / "archive", texts)
    extract(archive, get_backend("rules"), tmp_path / "run")
    page = invented.build_evidence_page(tmp_path / "run", archive, tmp_path / "p.html", limit=2500)
    browser.open(page, "#sort=archive")
    assert len(browser.shown()) == 20
    assert browser.js("document.getElementById('page').textContent") == "page 1 of 125"
    first = browser.shown()
    browser.press("n")
    assert not set(browser.shown()) & set(first)
    browser.press("p")
    assert browser.shown() == first
    browser.open(page, "#page=999")
    assert browser.js("document.getElementById('page').textContent") == "page 125 of 125"


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_window(browser, page, width):
    browser("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    browser.open(page)
    assert browser.js("document.documentElement.scrollWidth") <= width
    browser("Emulation.clearDeviceMetricsOverride")
