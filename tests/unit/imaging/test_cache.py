from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from lgdea.errors import DataError, UsageError
from lgdea.imaging import cache as module
from lgdea.imaging.cache import build_cache
from lgdea.imaging.frames import ImageCache
from lgdea.imaging.geometry import fit
from lgdea.imaging.read import read_image
from tests.helpers.command_line import uncounted_environment


@pytest.fixture
def items(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "source").mkdir()
    result = []
    for i in range(20):
        file = tmp_path / "source" / f"{i}.png"
        Image.fromarray(rng.integers(0, 255, (30 + i, 40), dtype=np.uint8)).save(file)
        result.append((f"toy:{i}", file))
    return result


def check(cache: ImageCache, items) -> None:
    assert sorted(cache.ids) == sorted(i for i, _ in items)
    for image_id, file in items:
        row = int(cache.index([image_id])[0])
        frame, geometry = fit(read_image(file).pixels, cache.size, cache.mode)
        assert np.array_equal(cache[row], frame)
        assert cache.geometry(row) == geometry


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("mode", ["letterbox", "center_crop"])
def test_frames_are_what_fit_makes(items, tmp_path, workers, mode):
    cache = build_cache(items, tmp_path / "cache", 24, workers, mode=mode)
    check(cache, items)
    assert cache.pixels.shape == (20, 24, 24)
    assert isinstance(cache.pixels, np.memmap)
    assert cache[[3, 1]].shape == (2, 24, 24)
    assert "toy:3" in cache
    assert "toy:99" not in cache


def test_the_pixel_file_is_plain_npy(items, tmp_path):
    build_cache(items, tmp_path / "cache", 24, 1)
    pixels = np.load(tmp_path / "cache" / "pixels.npy")
    assert pixels.shape == (20, 24, 24)
    assert pixels.dtype == np.uint8


def test_images_that_cannot_be_read_are_listed_and_tried_again(items, tmp_path, caplog):
    good = items[4][1].read_bytes()
    items[4][1].write_bytes(good[:100])
    items[7][1].unlink()
    cache = build_cache(items, tmp_path / "cache", 24, 2)
    assert len(cache) == 18
    cache.warn_of_missing([i for i, _ in items])
    assert caplog.messages[0].startswith("2 of 20 images cannot be read and are left out, such as toy:4; ")
    rejects = {r["image_id"]: r["reason"] for r in cache.rejects()}
    assert set(rejects) == {"toy:4", "toy:7"}
    assert "no such image" in rejects["toy:7"]
    with pytest.raises(DataError, match=r"has no image 'toy:4'; see its rejects.jsonl"):
        cache.index(["toy:4"])
    items[4][1].write_bytes(good)
    cache = build_cache(items, tmp_path / "cache", 24, 1)
    assert len(cache) == 19
    assert [r["image_id"] for r in cache.rejects()] == ["toy:7"]
    check(cache, [i for i in items if i[0] != "toy:7"])


def test_more_items_are_added_without_reading_the_old_again(items, tmp_path, monkeypatch):
    build_cache(items[:12], tmp_path / "cache", 24, 1)
    seen = []
    monkeypatch.setattr(module, "read_image", lambda path, bits: seen.append(path) or read_image(path))
    cache = build_cache(items, tmp_path / "cache", 24, 1)
    assert len(seen) == 8
    check(cache, items)
    seen.clear()
    build_cache(items, tmp_path / "cache", 24, 1)
    assert not seen


def test_a_changed_file_is_read_anew(items, tmp_path):
    build_cache(items, tmp_path / "cache", 24, 1)
    Image.fromarray(np.full((50, 50), 77, dtype=np.uint8)).save(items[0][1])
    check(build_cache(items, tmp_path / "cache", 24, 1), items)


def test_what_a_kill_leaves_of_the_first_write_is_no_strange_folder(items, tmp_path):
    folder = tmp_path / "killed"
    folder.mkdir()
    (folder / ".cache.json.1.tmp").write_text("{")
    assert len(build_cache(items, folder, 24, 1).ids) == len(items)


def test_another_size_or_a_strange_folder_is_refused(items, tmp_path):
    build_cache(items[:2], tmp_path / "cache", 24, 1)
    with pytest.raises(UsageError, match=r"holds frames of size 24 \(letterbox\), asked for are 32 \(letterbox\)"):
        build_cache(items[:2], tmp_path / "cache", 32, 1)
    with pytest.raises(UsageError, match="is not empty and holds no image cache"):
        build_cache(items[:2], tmp_path / "source", 24, 1)
    with pytest.raises(UsageError, match="no such image cache"):
        ImageCache(tmp_path / "nowhere")


KILLED = """
import os, sys
from pathlib import Path
from lgdea.imaging import cache
cache._FLUSH = 4
source, folder = Path(sys.argv[1]), sys.argv[2]
items = [(f"toy:{i}", source / f"{i}.png") for i in range(20)]
cache.build_cache(items, folder, 24, 1, progress=lambda done, total: done == 12 and os.kill(os.getpid(), 9))
"""


def test_a_killed_build_goes_on_where_it_was(items, tmp_path, monkeypatch):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "source"), str(tmp_path / "cache")]
    assert subprocess.run(command, check=False).returncode == -9
    with pytest.raises(UsageError, match="this image cache is unfinished"):
        ImageCache(tmp_path / "cache")
    with (tmp_path / "cache" / "index.jsonl").open("a") as log:
        log.write('{"image_id": "toy:12", "pa')  # a line cut short
    with (tmp_path / "cache" / "pixels.npy").open("ab") as pixels:
        pixels.write(b"\x01" * 1000)  # frames without a line
    seen = []
    monkeypatch.setattr(module, "read_image", lambda path, bits: seen.append(path) or read_image(path))
    cache = build_cache(items, tmp_path / "cache", 24, 1)
    assert len(seen) == 8
    check(cache, items)


@pytest.mark.parametrize("name", ["index.jsonl", "pixels.npy"])
def test_a_flipped_bit_of_an_interrupted_build_is_mended_or_told(items, tmp_path, name):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "source"), str(tmp_path / "cache")]
    assert subprocess.run(command, check=False).returncode == -9
    file = tmp_path / "cache" / name
    whole = file.read_bytes()
    kept = shutil.copytree(tmp_path / "cache", tmp_path / "kept")
    for bit in random.Random(name).sample(range(8 * len(whole)), 40):
        shutil.rmtree(tmp_path / "cache")
        shutil.copytree(kept, tmp_path / "cache")
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        try:
            check(build_cache(items, tmp_path / "cache", 24, 1), items)
        except DataError as error:
            assert name == "pixels.npy", error  # noqa: PT017
            assert "is not as it was written" in str(error)  # noqa: PT017


def test_lost_pixels_are_noticed(items, tmp_path):
    build_cache(items, tmp_path / "cache", 24, 1)
    os.truncate(tmp_path / "cache" / "pixels.npy", 1000)
    (tmp_path / "cache" / "_SUCCESS").unlink()
    check(build_cache(items, tmp_path / "cache", 24, 1), items)


FULL_DISK = """
import resource, sys
from pathlib import Path
from lgdea.errors import DataError
from lgdea.imaging.cache import build_cache
source, folder = Path(sys.argv[1]), sys.argv[2]
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
try:
    build_cache([(f"toy:{i}", source / f"{i}.png") for i in range(20)], folder, 96, 1)
except DataError as error:
    print(error)
"""


def test_a_full_disk_gives_one_line_and_the_next_run_goes_on(items, tmp_path):
    pytest.importorskip("resource")
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "source"), str(tmp_path / "cache")]
    run = subprocess.run(command, env=uncounted_environment(), capture_output=True, text=True, check=False)
    assert run.stderr == ""
    assert run.stdout.count("\n") == 1
    assert "cannot be written (File too large); free some space and run again" in run.stdout
    check(build_cache(items, tmp_path / "cache", 96, 1), items)


def test_an_empty_cache_and_progress(items, tmp_path):
    assert len(build_cache([], tmp_path / "none", 24, 1)) == 0
    calls = []
    build_cache(items, tmp_path / "cache", 24, 1, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (20, 20)


def test_the_recipe_is_readable(items, tmp_path):
    build_cache(items[:1], tmp_path / "cache", 24, 1, mode="center_crop")
    recipe = json.loads((tmp_path / "cache" / "cache.json").read_text())
    assert (recipe["size"], recipe["mode"]) == (24, "center_crop")


def test_frames_of_chosen_images_are_read_when_asked_for(items, tmp_path):
    cache = build_cache(items, tmp_path / "cache", 24, 1)
    frames = cache.frames(["toy:7", "toy:2", "toy:11"])
    assert len(frames) == 3
    assert np.array_equal(frames[np.array([2, 0])], cache[cache.index(["toy:11", "toy:7"])])
    assert np.array_equal(frames[::2], cache[cache.index(["toy:7", "toy:11"])])
    with pytest.raises(DataError, match="toy:99"):
        cache.frames(["toy:99"])


def test_runs_that_share_a_folder_take_turns(items, tmp_path):
    """Two at once used to write their frames into each other's file: no error, but the wrong picture in a row."""
    code = "import sys; from lgdea.imaging.cache import build_cache; build_cache(eval(sys.argv[1]), sys.argv[2], 24, 1)"
    command = [sys.executable, "-c", code, repr([(i, str(f)) for i, f in items]), str(tmp_path / "cache")]
    builders = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    for builder in builders:
        assert builder.communicate()[1] == b""
        assert builder.returncode == 0
    check(ImageCache(tmp_path / "cache"), items)


def test_the_fingerprint_of_frames_is_of_their_files_and_their_shape(items, tmp_path):
    ids = [image_id for image_id, _ in items]
    first = build_cache(items, tmp_path / "cache", 24, 1).frames(ids).fingerprint()
    assert build_cache(items, tmp_path / "cache", 24, 1).frames(ids).fingerprint() == first
    assert build_cache(items, tmp_path / "cache", 24, 1).frames(ids[:-1]).fingerprint() != first
    assert build_cache(items, tmp_path / "other", 16, 1).frames(ids).fingerprint() != first
    assert build_cache(items, tmp_path / "crop", 24, 1, mode="center_crop").frames(ids).fingerprint() != first
    bits = dict.fromkeys(ids, 12)
    assert build_cache(items, tmp_path / "deep", 24, 1, bits=bits).frames(ids).fingerprint() != first
    Image.fromarray(np.zeros((30, 40), dtype=np.uint8)).save(items[0][1])
    assert build_cache(items, tmp_path / "cache", 24, 1).frames(ids).fingerprint() != first
