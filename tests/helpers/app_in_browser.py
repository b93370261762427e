"""A started `lgdea app`, and a page of it in a real browser that resolves no name but this machine's."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator

CHROMIUM = os.environ.get("LGDEA_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
MISSING = [name for name in ("gradio", "playwright", "axe_playwright_python") if find_spec(name) is None]
WAIT = 90_000
TABS = ("Read a report", "Ask an image", "Find cases", "Compare", "Review", "Runs")


@dataclass
class Running:
    """A started app."""

    process: subprocess.Popen
    url: str
    folder: Path
    temporary: Path
    errors: Path = field(default_factory=Path)


def start(folder: Path, temporary: Path, *more: str) -> Running:
    """Start the app and wait until it answers."""
    temporary.mkdir(parents=True, exist_ok=True)
    errors = temporary.parent / f"{temporary.name}.log"
    environment = {**os.environ, "TMPDIR": str(temporary), "HOME": str(temporary / "home"), "OMP_NUM_THREADS": "1"}
    (temporary / "home").mkdir(exist_ok=True)
    names = ["app", "model", "archive", "--evidence", "evidence", "--runs", "runs", "--port", "0", *more]
    process = subprocess.Popen(
        [sys.executable, "-m", "lgdea", *names], cwd=folder, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=errors.open("w"),
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"app: (\S+)", line)
    assert found, errors.read_text()
    return Running(process, found[1], folder, temporary, errors)


def end(app: Running, number: int = signal.SIGTERM) -> int:
    """End the app by a signal; its exit code."""
    app.process.send_signal(number)
    return app.process.wait(timeout=60)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser for which every name fails, so that a request to anywhere but the server does."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


class Page:
    """A page of the app, with all that went wrong in it.

    Args:
        browser: The browser.
        url: Address of the app.
        options: Of the browser's context: viewport, colour scheme.
    """

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        self.context = browser.new_context(accept_downloads=True, **options)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.problems: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda m: self.problems.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.set_default_timeout(WAIT)
        self.page.goto(url)
        self.page.get_by_role("tab", name=TABS[0]).wait_for()

    def open(self, name: str) -> None:
        """Open a tab; those that a narrow screen has no room for stand in a menu."""
        tab = self.page.get_by_role("tab", name=name)  # the copy by which Gradio measures has no role
        if tab.count() == 1 and tab.is_visible():
            tab.click()
        else:
            self.page.locator(".overflow-menu > button").click()
            self.page.locator(".overflow-dropdown button", has_text=name).click()
        self.page.get_by_role("tab", name=name, selected=True).wait_for()

    def press(self, name: str) -> None:
        """Press a button of the open tab."""
        self.page.get_by_role("button", name=name, exact=True).locator("visible=true").first.click()

    def see(self, what: str) -> Locator:
        """Wait for a visible element."""
        found = self.page.locator(f"{what} >> visible=true").first
        found.wait_for()
        return found

    def close(self) -> None:
        self.context.close()

    @property
    def left_loopback(self) -> list[str]:
        """Requests to anywhere but the app."""
        return [url for url in self.requests if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))]

    def findings(self) -> list[str]:
        """Serious and critical findings of axe-core, with the first element of each."""
        from axe_playwright_python.sync_playwright import Axe

        # What Gradio still works at is shown half transparent, and has less contrast meanwhile.
        self.page.wait_for_function(
            """() => ![...document.querySelectorAll('.lg-badge, .lg-note, .lg-report')].some(element => {
                for (let e = element; e; e = e.parentElement)
                    if (getComputedStyle(e).opacity < 1) return e.checkVisibility()
                return false
            })"""
        )
        found = Axe().run(self.page).response["violations"]
        return [
            f"{v['id']}: {v['nodes'][0]['html'][:200]} ({len(v['nodes'])})"
            for v in found
            if v["impact"] in ("serious", "critical")
        ]
