"""`lgdea app` as people meet it: a real server, a real browser, every page, and what is left when it ends.

The browser resolves no name, so that a request to anywhere but the server fails. Needs gradio, playwright and a
Chromium, which is looked for on the path and in LGDEA_CHROMIUM.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.helpers.app_in_browser import CHROMIUM, MISSING, TABS, Page, Running, chromium, end, start

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (pip install -e '.[dev]')"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path; name one in LGDEA_CHROMIUM"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom, its evidence, an untrained model and a folder of runs."""
    import torch

    import lgdea
    from lgdea.phantom import generate

    folder = tmp_path_factory.mktemp("app")
    archive = generate(folder / "archive", studies=60, size=64)
    lgdea.extract(archive, out=folder / "evidence")
    torch.manual_seed(0)
    shape = {"image_size": 64, "hidden": 32, "layers": 1, "dim": 16, "prototypes": 4}
    lgdea.save_model(lgdea.create_model("test_resnet", texts=archive.reports["text"], **shape), folder / "model")
    run = folder / "runs" / "first"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("objective: lgdea\n")
    (run / "metrics.csv").write_text("step,loss\n" + "".join(f"{i},{1 / (i + 1)}\n" for i in range(20)))
    return folder


@pytest.fixture(scope="module")
def app(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = start(folder, tmp_path_factory.mktemp("t") / "tmp")
    yield running
    if running.process.poll() is None:
        end(running)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with chromium() as browser:
        yield browser


def use_every_page(page: Page, reviewer: str) -> dict[str, list[str]]:
    """Use each tab; the accessibility findings of each."""
    found = {}
    page.press("Take an example")
    page.see(".lg-report").get_by_text("pleural effusion: present").first.wait_for()
    page.see(".lg-table").get_by_text("uncertain").first.wait_for()
    found[TABS[0]] = page.findings()
    page.open(TABS[1])
    page.press("Show where")
    page.see("img[alt*='heat map'], .image-container img")
    page.see("p:has-text('not calibrated')")
    page.press("List findings")
    page.see("caption:has-text('most probable findings')")
    found[TABS[1]] = page.findings()
    page.open(TABS[2])
    page.press("Find cases")
    page.see("p:has-text('no entity head')")
    page.see("figure:has-text('case 1') img")
    found[TABS[2]] = page.findings()
    page.open(TABS[3])
    page.press("Compare with the prior")
    page.see("p:has-text('no change head')")
    page.see("figure img")
    page.page.get_by_role("button", name="Query beside healthy references").click()
    page.press("Compare with references")
    page.see("p:has-text('one image at a time')")
    found[TABS[3]] = page.findings()
    page.open(TABS[4])
    page.page.get_by_label("Who reviews").fill(reviewer)
    page.press("Open the list")
    page.see(".lg-report")
    page.press("Right")
    page.see(f"p:has-text('begun, saved in {reviewer.lower()}.csv')")
    page.press("The rest is right: complete")
    page.see(f"p:has-text('complete, saved in {reviewer.lower()}.csv')")
    found[TABS[4]] = page.findings()
    page.open(TABS[5])
    page.press("Show")
    page.see(".lg-chart svg")
    found[TABS[5]] = page.findings()
    return found


LOOKS = {
    "desktop": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_works_is_accessible_and_asks_nobody_else(app: Running, browser, look: str) -> None:
    page = Page(browser, app.url, **LOOKS[look])
    found = use_every_page(page, f"Reviewer {look}".replace(" ", "-"))
    wide = page.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    page.close()
    assert {name: items for name, items in found.items() if items} == {}
    assert page.left_loopback == []
    assert page.problems == []
    assert wide == 0
    assert len(page.requests) > 20


def test_bad_files_and_words_are_one_line_in_the_page(app: Running, browser, tmp_path: Path) -> None:
    (tmp_path / "report.png").write_bytes(b"no picture at all")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "small.png")
    page = Page(browser, app.url)
    page.press("Read")
    assert "the report is empty" in page.see("[role=alert]").inner_text()
    page.open(TABS[1])
    page.page.locator("input[type=file]").first.set_input_files(tmp_path / "report.png")
    page.see("text=report.png")
    page.press("Show where")
    alert = page.see("[role=alert]")
    alert.get_by_text("report.png: is no PNG, JPEG or DICOM file").wait_for()
    assert "Traceback" not in alert.inner_text()
    assert str(app.temporary) not in alert.inner_text()
    assert "\n" not in alert.inner_text().strip()
    page.open(TABS[2])
    page.page.get_by_label("Entity").fill("xyzzy")
    page.press("Find cases")
    page.see("[role=alert]:has-text('no word that the vocabulary')")
    page.open(TABS[4])
    page.page.get_by_label("Who reviews").fill("../x")
    page.press("Open the list")
    page.see("[role=alert]:has-text('cannot be a file')")
    page.close()
    assert page.problems == []
    assert "Traceback" not in app.errors.read_text()


def test_an_image_of_ones_own_and_the_files_of_a_report(app: Running, browser, tmp_path: Path) -> None:
    Image.fromarray((np.random.default_rng(0).random((90, 70)) * 255).astype(np.uint8)).save(tmp_path / "film.png")
    page = Page(browser, app.url)
    page.page.get_by_label("Report").fill("Left effusion <img src=http://evil.example/x onerror=alert(1)>. No edema.")
    page.press("Read")
    page.see(".lg-report").get_by_text("onerror=alert(1)").first.wait_for()
    assert page.page.locator(".lg-report img").count() == 0
    with page.page.expect_download() as download:
        page.press("Download JSON")
    content = json.loads(Path(download.value.path()).read_text())
    assert [unit["finding"] for unit in content["units"]] == ["pleural_effusion", "edema"]
    assert download.value.suggested_filename == "evidence.json"
    page.open(TABS[1])
    page.page.locator("input[type=file]").first.set_input_files(tmp_path / "film.png")
    page.see("text=film.png")
    page.press("Show where")
    page.see("p:has-text('your image: map from')")
    shown = page.see(".image-container img, img[alt*='heat map']")
    width = shown.evaluate("image => image.naturalWidth")
    assert shown.get_attribute("src").endswith(".png")  # as it was drawn, without loss
    assert width > 6 * 70  # six pixels for each of the source, and a legend
    page.close()
    assert page.left_loopback == []
    assert page.problems == []


def test_a_review_survives_a_reload_and_a_second_window_does_not_overwrite_it(app: Running, browser) -> None:
    pages = [Page(browser, app.url) for _ in range(2)]
    for page in pages:
        page.open(TABS[4])
        page.page.get_by_label("Who reviews").fill("Both")
        page.press("Open the list")
        page.see(".lg-report")
    first, second = pages
    first.press("Right")
    first.see("p:has-text('begun, saved in both.csv')")
    second.press("Wrong")
    second.see("[role=alert]:has-text('changed in another window')")
    first.page.reload()
    first.page.get_by_role("tab", name=TABS[0]).wait_for()
    first.open(TABS[4])
    first.page.wait_for_function(
        "document.querySelector('textarea[maxlength=\"40\"], input[maxlength=\"40\"]').value == 'Both'"
    )
    first.press("Open the list")
    first.see("label:has-text('correct')")
    first.page.get_by_label("Severity").click()
    first.page.get_by_role("option", name="severe").click()
    first.press("Save as corrected")
    first.see("label:has-text('fixed')")
    for page in pages:
        page.close()
    archive = ["--archive", str(app.folder / "archive")]
    reviews = app.folder / "reviews" / "both.csv"
    done = subprocess.run(
        [sys.executable, "-m", "lgdea", "extract", "corrections", reviews, *archive, "--out", app.temporary / "none"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "no report has a verdict" in done.stderr  # begun, not complete


def test_a_name_that_is_typed_while_the_server_is_busy_stays(app: Running, browser) -> None:
    page = Page(browser, app.url)
    page.open(TABS[4])
    page.page.get_by_label("Who reviews").fill("Kim")
    page.press("Open the list")
    page.see(".lg-report")
    held: list = []

    def hold(route) -> None:  # what the page asks when it is opened is answered late
        held.append(route)

    page.page.route("**/queue/join*", hold)
    page.page.reload()
    page.page.get_by_role("tab", name=TABS[0]).wait_for()
    page.open(TABS[4])
    name = page.page.get_by_label("Who reviews")
    page.page.wait_for_function('document.querySelector(\'input[maxlength="40"], textarea[maxlength="40"]\').value')
    assert name.input_value() == "Kim"
    name.fill("Lee")
    page.page.unroute("**/queue/join*")
    for route in held:
        route.continue_()
    page.page.wait_for_timeout(3000)
    assert name.input_value() == "Lee"
    page.close()
    assert page.problems == []


def test_the_config_offers_no_sharing_and_no_history(app: Running) -> None:
    config = httpx.get(f"{app.url}config").text
    assert '"share"' not in config
    assert '"run_history":true' not in config.replace(" ", "")
    assert '"analytics_enabled":true' not in config.replace(" ", "")


def test_other_hosts_files_and_routes_are_refused(app: Running) -> None:
    picture = next(path for path in (app.folder / "archive" / "images").iterdir())
    client = httpx.Client(base_url=app.url)
    assert client.get("/").status_code == 200
    assert client.get("/", headers={"host": "evil.example"}).status_code == 403
    assert client.post("/gradio_api/queue/join", json={}, headers={"origin": "http://evil.example"}).status_code == 403
    for path in (
        picture,
        "/etc/passwd",
        "../../etc/passwd",
        "model/config.json",
        app.errors,
        "%2e%2e/%2e%2e/etc/passwd",
    ):
        assert client.get(f"/gradio_api/file={path}").status_code in (403, 404), path
    for path in ("gradio_api/info", "gradio_api/proxy=http://127.0.0.1:1/", "monitoring", "docs", "gradio_api/runs"):
        assert client.get(f"/{path}").status_code == 404, path


def test_a_request_for_a_file_of_the_server_gets_none(app: Running, tmp_path: Path) -> None:
    """A prepared request names a file of the server, or an address, in place of its upload."""
    config = httpx.get(f"{app.url}config").json()
    upload = next(c["id"] for c in config["components"] if c["type"] == "file")
    job = next(d for d in config["dependencies"] if upload in d["inputs"])
    kinds = {c["id"]: c["type"] for c in config["components"]}
    outside = shutil.copy(next((app.folder / "archive" / "images").iterdir()), tmp_path / "private.png")
    for path in ("/etc/passwd", str(outside), "http://127.0.0.1:9/x.png"):
        data = ["left pleural effusion" if kinds[number] == "textbox" else None for number in job["inputs"]]
        data[job["inputs"].index(upload)] = {"path": path, "meta": {"_type": "gradio.FileData"}}
        body = {"data": data, "fn_index": job["id"], "session_hash": "s", "trigger_id": None, "event_data": None}
        joined = httpx.post(f"{app.url}gradio_api/queue/join", json=body)
        if joined.status_code == 400:
            continue
        with httpx.stream("GET", f"{app.url}gradio_api/queue/data?session_hash=s", timeout=60) as stream:
            told = next(line for line in stream.iter_lines() if "process_completed" in line)
        assert '"success":false' in told.replace(" ", "") or "lg-alert" in told, told
        assert "root:" not in told
        assert "image.png" not in told


def test_a_long_upload_and_a_bomb_are_refused(app: Running) -> None:
    files = {"files": ("a.png", b"\x89PNG" + b"0" * (70 * 2**20))}
    try:
        assert httpx.post(f"{app.url}gradio_api/upload", files=files, timeout=60).status_code == 413
    except httpx.TransportError:
        pass  # the server has closed the connection before all of it was sent
    sent = httpx.post(f"{app.url}gradio_api/upload", files={"files": ("../../../x.png", b"0")})
    if sent.status_code == 200:
        assert all(Path(path).resolve().is_relative_to(app.temporary) for path in sent.json())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_pictures_are_private_and_gone_when_the_app_ends(folder: Path, browser, tmp_path: Path, number: int) -> None:
    app = start(folder, tmp_path / "tmp")
    page = Page(browser, app.url)
    page.open(TABS[1])
    page.press("Show where")
    page.see("p:has-text('not calibrated')")
    page.press("List findings")  # is still being answered when the signal comes
    private = [path for path in app.temporary.iterdir() if path.name.startswith("lgdea-app-")]
    assert len(private) == 1
    assert private[0].stat().st_mode & 0o777 == 0o700
    assert list(private[0].rglob("*.png"))
    assert end(app, number) == (0 if number == signal.SIGINT else 128 + number)
    page.close()
    # Matplotlib keeps a list of the machine's fonts, which says nothing of what was looked at.
    left = [path for path in app.temporary.rglob("*") if path.is_file() and "fontlist" not in path.name]
    assert left == []
    assert "Traceback" not in app.errors.read_text()


def test_any_other_address_asks_for_a_token(folder: Path, tmp_path: Path) -> None:
    app = start(folder, tmp_path / "tmp", "--host", "0.0.0.0")
    try:
        port = re.search(r":(\d+)/", app.url)[1]
        token = app.url.partition("token=")[2]
        here = f"http://127.0.0.1:{port}/"
        assert len(token) >= 32
        assert "unencrypted" in app.errors.read_text()
        assert httpx.get(here).status_code == 401
        assert httpx.get(f"{here}config").status_code == 401
        assert httpx.get(f"{here}?token={token[:-1]}x").status_code == 401
        with httpx.Client(base_url=here, follow_redirects=True) as client:
            assert client.get(f"/?token={token}").status_code == 200
            assert client.get("/config").status_code == 200
    finally:
        end(app)


def test_a_start_that_cannot_be_is_one_line(folder: Path, app: Running) -> None:
    port = re.search(r":(\d+)/", app.url)[1]
    for arguments, said in (
        (["model", "nothing"], "no such"),
        (["modell", "archive"], "modell: no such model folder; check the path"),
        (["runs/second", "archive"], "no such model folder"),
        (["model", "archive", "--port", port], "choose another --port"),
        (["model", "archive", "--url", "http://films.example/v1"], "to this machine alone"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "lgdea", "app", *arguments], cwd=folder, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 2
        assert said in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
