import numpy as np
import pytest

from lgdea import runs
from lgdea.errors import DataError, RejectedShareError, UsageError
from lgdea.evaluation.embed import embed_archive, missing_images, read_embeddings
from lgdea.evaluation.images import ImageSource
from lgdea.imaging.cache import build_cache
from tests.helpers.mini_archive import STUDIES, Oracle, Shuffled, number_of


class Counting(Oracle):
    """Counts what it is asked, and can break off."""

    def __init__(self, stop_after=None):
        super().__init__()
        self.asked, self.stop_after = 0, stop_after

    def encode_images(self, images):
        if self.stop_after is not None and self.asked >= self.stop_after:
            raise KeyboardInterrupt
        self.asked += len(images)
        return super().encode_images(images)


def test_rows_belong_to_their_ids(mini, tmp_path):
    model = Oracle()
    out = embed_archive(model, mini, tmp_path / "e", batch_size=16)
    vectors, ids = read_embeddings(out, "image")
    assert isinstance(vectors, np.memmap)
    assert ids["image_id"].tolist() == mini.images["image_id"].tolist()
    expected = np.stack([model.concept(i) for i in range(STUDIES)])
    np.testing.assert_allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), rtol=1e-5)
    reports, report_ids = read_embeddings(out, "report")
    np.testing.assert_allclose(reports, vectors, rtol=1e-5)
    assert report_ids["report_id"].tolist() == mini.reports["report_id"].tolist()


def test_an_interrupted_run_goes_on_where_it_stopped(mini, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        embed_archive(Counting(stop_after=32), mini, tmp_path / "e", batch_size=16)
    assert not runs.is_finished(tmp_path / "e")
    with pytest.raises(UsageError, match="unfinished"):
        read_embeddings(tmp_path / "e", "image")
    model = Counting()
    embed_archive(model, mini, tmp_path / "e", batch_size=25)
    assert model.asked == STUDIES - 32
    whole = embed_archive(Oracle(), mini, tmp_path / "whole", batch_size=16)
    for side in ("image", "report"):
        np.testing.assert_array_equal(read_embeddings(tmp_path / "e", side)[0], read_embeddings(whole, side)[0])
    again = Counting()
    embed_archive(again, mini, tmp_path / "e", batch_size=16)
    assert again.asked == 0


@pytest.mark.parametrize("name", ["images.npy", "images.progress.json"])
def test_a_flipped_bit_of_an_interrupted_run_is_embedded_anew(mini, tmp_path, name):
    with pytest.raises(KeyboardInterrupt):
        embed_archive(Counting(stop_after=32), mini, tmp_path / "e", batch_size=16)
    whole = read_embeddings(embed_archive(Oracle(), mini, tmp_path / "whole"), "image")[0].tobytes()
    file = tmp_path / "e" / name
    flipped = bytearray(file.read_bytes())
    flipped[len(flipped) // 3] ^= 1
    file.write_bytes(flipped)
    model = Counting()
    embed_archive(model, mini, tmp_path / "e", batch_size=16)
    assert model.asked == STUDIES
    assert read_embeddings(tmp_path / "e", "image")[0].tobytes() == whole


def test_an_unreadable_image_is_a_row_of_nan_with_its_reason(damaged, tmp_path):
    # Blocks of one: the whole block of an unreadable image is empty.
    vectors, ids = read_embeddings(embed_archive(Oracle(), damaged, tmp_path / "e", batch_size=1), "image")
    wrong = ids["error"].notna().to_numpy()
    assert ids.loc[wrong, "image_id"].tolist() == ["mini:30-a", "mini:31-a"]
    assert np.isnan(vectors[wrong]).all()
    assert np.isfinite(vectors[~wrong]).all()


def test_more_unreadable_images_than_allowed_are_told_each_time(damaged, tmp_path, caplog):
    said = r"images.parquet: 2 of 90 images could not be read \(2.2%, allowed are 1.0%\); its column error says why"
    for _ in range(2):  # finished, and told again
        with pytest.raises(RejectedShareError, match=said):
            embed_archive(Oracle(), damaged, tmp_path / "e", max_unreadable=0.01)
        assert runs.is_finished(tmp_path / "e")
    embed_archive(Oracle(), damaged, tmp_path / "e", max_unreadable=0.03)
    assert missing_images(tmp_path / "e")["image_id"].tolist() == ["mini:30-a", "mini:31-a"]
    caplog.clear()
    read_embeddings(tmp_path / "e", "image")
    assert caplog.messages == ["2 of 90 image embeddings are NaN; the column error says why"]


def test_an_archive_without_a_readable_image_is_an_error_until_it_is_mended(damaged, tmp_path):
    for file in damaged.image_root.iterdir():
        file.rename(file.with_suffix(".away"))
    for _ in range(2):
        with pytest.raises(DataError, match=r"none of 90 images can be read \(.*no such image"):
            embed_archive(Oracle(), damaged, tmp_path / "e")
        assert not runs.is_finished(tmp_path / "e")
    for file in damaged.image_root.iterdir():
        file.rename(file.with_suffix(".png"))
    assert len(missing_images(embed_archive(Oracle(), damaged, tmp_path / "e"))) == 2


def test_a_folder_of_other_embeddings_is_refused(mini, tmp_path):
    embed_archive(Oracle(), mini, tmp_path / "e", batch_size=16)
    with pytest.raises(UsageError, match="another config"):
        embed_archive(Shuffled(), mini, tmp_path / "e")


def test_a_broken_model_is_told(mini, tmp_path):
    class Broken(Oracle):
        def encode_images(self, images):
            return np.full((len(images), 16), np.nan)

    with pytest.raises(DataError, match="not finite"):
        embed_archive(Broken(), mini, tmp_path / "e")


def test_cached_frames_are_used_and_missing_ones_are_read(mini, tmp_path):
    rows = list(zip(mini.images["image_id"], map(mini.image_path, mini.images["image_id"]), strict=True))
    cache = build_cache(rows[:50], tmp_path / "cache", 32, workers=1)
    source = ImageSource(mini, cache=cache)
    assert source.read("mini:3-a").shape == (32, 32)
    assert source.read("mini:60-a").shape == (20, 24)
    np.testing.assert_array_equal(np.rint(source.read("mini:3-a") * 255), cache[3])


def test_batches_keep_order_and_leave_out_what_cannot_be_read(damaged):
    source = ImageSource(damaged, workers=3)
    ids = damaged.images["image_id"].tolist()
    seen, sizes = [], []
    for batch, pixels in source.batches(ids, 8):
        assert [f"mini:{number_of(p)}-a" for p in pixels] == batch
        seen += batch
        sizes.append(len(batch))
    assert seen == [i for i in ids if i not in ("mini:30-a", "mini:31-a")]
    assert sizes == [8] * 11
    assert [item["id"] for item in source.skipped] == ["mini:30-a", "mini:31-a"]
