from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture

from lgdea.errors import UsageError
from lgdea.evaluation.results.result import read_result, write_result
from lgdea.evaluation.tasks import features
from lgdea.records.archive import write_archive
from lgdea.reporting.features_page import write_features
from lgdea.reporting.scatter import SIDE, scatter

FAST = {
    "bootstrap_replicates": 20,
    "umap": False,
    "marked_images": 6,
    "permutations": 3,
    "costs": (0.1,),
    "split": "all",
}


class Stripes:
    """Embeds the means of bands of an image: what a class is, and what is burnt into the top or bottom."""

    def __init__(self, bands: int) -> None:
        self.bands = bands

    def encode_images(self, images):
        return np.array([[band.mean() for band in np.array_split(image, self.bands)] for image in images])


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """40 images of 40 patients: <b>bright</b> in the middle or not, each with one finding."""
    folder = tmp_path_factory.mktemp("bands")
    rng = np.random.default_rng(0)
    tables: dict[str, list] = {name: [] for name in ("studies", "images", "reports", "boxes", "labels")}
    for i in range(40):
        pixels = rng.integers(60, 120, (64, 64)).astype(np.uint8)
        pixels[24:40] += np.uint8(80 * (i % 2))
        Picture.fromarray(pixels).save(folder / f"{i}.png")
        tables["studies"].append({"study_id": f"b:{i}", "patient_id": f"b:p{i}", "dataset": "b", "split": "test"})
        image = {"image_id": f"b:{i}<i>", "study_id": f"b:{i}", "path": f"{i}.png", "width": 64, "height": 64}
        tables["images"].append(image)
        for c, finding in enumerate(("nodule", "pneumothorax")):
            value = float(i % 2 == c)
            tables["labels"].append({"study_id": f"b:{i}", "finding": finding, "value": value, "labeller": "truth"})
    return write_archive(folder / "archive", "b", tables, folder, {})


@pytest.fixture(scope="module")
def written(archive, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    results = {
        f"{bands} bands": write_result(features(Stripes(bands), archive, **FAST), out / str(bands)).parent
        for bands in (1, 8)
    }
    return write_features(results, archive, out), results


def test_the_page_fetches_nothing_and_every_tag_is_closed(written):
    page = written[0][2].read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert all(address.startswith("data:image/") for address in re.findall(r'src="([^"]*)"', page))
    assert {a[:1] for a in re.findall(r'href="([^"]*)"', page)} == {"#"}
    open_tags: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            open_tags.extend([tag] if tag not in {"meta", "img", "br"} else [])

        def handle_startendtag(self, tag, attrs):
            pass

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Reader().feed(page)
    assert open_tags == []


def test_the_page_shows_every_image_once_per_plot_and_every_marker(written):
    page = written[0][2].read_text(encoding="utf-8")
    assert page.count('class="scatter"') == 2
    assert len(re.findall(r'<use class="s\d" href="#mark-\d" x=', page)) == 2 * 40
    assert page.count("data:image/jpeg") == 1 + 5
    assert re.search(r"b:\d+&lt;i&gt;", page)
    assert not re.search(r"b:\d+<i>", page)


def test_the_table_and_the_numbers_are_those_of_the_results(written):
    (markdown, table, _), results = written
    rows = pd.read_csv(table, keep_default_na=False, na_values=[""])
    for label, folder in results.items():
        result = read_result(folder)
        own = rows[(rows["encoder"] == label) & rows["class"].isna()].set_index("metric")
        assert own["value"].to_dict() == pytest.approx({m: v.value for m, v in result.metrics.items()}, nan_ok=True)
        accuracy = result.metrics["linear_balanced_accuracy"]
        assert f"{accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}]" in markdown.read_text(encoding="utf-8")
    assert "n = 40 images, 6 of them with burnt-in text" in markdown.read_text(encoding="utf-8")
    assert rows.loc[(rows["encoder"] == "8 bands") & (rows["metric"] == "silhouette"), "value"].iloc[0] > 0.2


def test_results_of_other_settings_are_not_put_side_by_side(archive, written, tmp_path):
    other = write_result(features(Stripes(4), archive, **{**FAST, "seed": 1}), tmp_path / "other").parent
    with pytest.raises(UsageError, match="the result of other has another config"):
        write_features({**written[1], "other": other}, archive, tmp_path)


def test_a_plot_keeps_the_shape_of_the_distances():
    places = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 5.0]])
    marks = re.findall(
        r'<use class="s(\d)" href="#mark-(\d)" x="([\d.]+)" y="([\d.]+)"', scatter("t", places, "aab", "ab")
    )
    at = {tuple(m[:2]): None for m in marks}
    assert set(at) == {("0", "0"), ("1", "1")}
    xy = np.array([[float(m[2]), float(m[3])] for m in marks])
    assert ((xy >= 0) & (xy <= SIDE)).all()
    assert np.ptp(xy[:, 0]) == pytest.approx(2 * np.ptp(xy[:, 1]), abs=0.2)
    (b,) = [m for m in marks if m[0] == "1"]
    assert float(b[3]) == xy[:, 1].min()  # up is up
    assert scatter("t", np.zeros((2, 2)), "ab", "ab").count("<use") == 2
