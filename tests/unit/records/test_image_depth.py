"""One bit depth for the 16-bit pictures of an archive: said once, heeded wherever they are read."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lgdea.errors import ConfigError
from lgdea.evaluation.images import ImageSource
from lgdea.imaging.cache import build_cache
from lgdea.records.adapters.table.adapter import ADAPTER
from lgdea.records.archive import Archive
from lgdea.records.merge import merge
from lgdea.records.verify import verify


@pytest.fixture
def table(tmp_path):
    """Four pictures of one 12-bit detector: two bright, one so dark that 10 bits hold it, one with overshoot."""
    grey = np.linspace(0, 1, 600).reshape(20, 30)
    for name, highest in (("a", 4000), ("b", 3900), ("dark", 900), ("over", 4000)):
        values = (grey * highest).astype(np.uint16)
        if name == "over":
            values[0, 0] = 4100
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    rows = "".join(f"p{i},s{i},{name}.png\n" for i, name in enumerate(("a", "b", "dark", "over")))
    (tmp_path / "t.csv").write_text("patient,study,image\n" + rows)
    return tmp_path / "t.csv"


def test_a_dry_run_tells_of_mixed_depths_and_of_the_option(table):
    notes = ADAPTER.explain(table).facts["notes"]
    assert [note for note in notes if "16-bit" in note] == [
        "16-bit pictures have different depths (of 4 that were looked at 1 have 10 bits, 3 have 12 bits), each is "
        "scaled by its own; where they come from one kind of device, give all the same, --option image_bits=12"
    ]
    assert not [note for note in ADAPTER.explain(table, image_bits=12).facts["notes"] if "16-bit" in note]
    cut = ADAPTER.explain(table, image_bits=10).facts["notes"]
    assert "3 of 4 16-bit pictures that were looked at have more than 10 bits, which are cut off" in cut
    with pytest.raises(ConfigError, match="image_bits"):
        ADAPTER.explain(table, image_bits=11)


def test_every_reader_heeds_the_archives_depth(table, tmp_path):
    own = ADAPTER.build(table, tmp_path / "own", dataset="own")
    assert own.image_bits == {}
    assert own.read_image("own:dark").pixels.max() == pytest.approx(900 / 1023)
    archive = ADAPTER.build(table, tmp_path / "out", image_bits=12)
    dark = archive.read_image("t:dark").pixels
    assert dark.max() == pytest.approx(900 / 4095)
    assert np.array_equal(ImageSource(archive).read("t:dark"), dark)
    items = [(image, archive.image_path(image)) for image in archive.images["image_id"]]
    cache = build_cache(items, tmp_path / "cache", 30, 1)
    assert cache[int(cache.index(["t:dark"])[0])].max() == pytest.approx(255 * 900 / 1023, abs=1)
    cache = build_cache(items, tmp_path / "cache", 30, 1, bits=archive.image_bits)  # another depth: read anew
    assert cache[int(cache.index(["t:dark"])[0])].max() == pytest.approx(255 * 900 / 4095, abs=1)
    assert not [problem for problem in verify(archive, workers=1) if problem.severity == "error"]
    merged = merge([own, archive], tmp_path / "merged", seed=0)
    assert merged.read_image("t:dark").pixels.max() == pytest.approx(900 / 4095)
    assert merged.read_image("own:dark").pixels.max() == pytest.approx(900 / 1023)
    assert Archive.open(archive.folder).image_bits == dict.fromkeys(archive.images["image_id"], 12)
