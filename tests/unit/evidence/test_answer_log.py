import hashlib
import json
import random

import pytest

from lgdea.errors import DataError, UsageError
from lgdea.evidence.answer_log import AnswerIndex, AnswerLog, RecordLocation
from lgdea.evidence.backends.base import Response
from lgdea.evidence.io import iter_raw, iter_rejects


def _id(n):
    return hashlib.sha256(str(n).encode()).hexdigest()[:24]


def test_the_index_finds_the_last_answer_of_thousands_in_any_order():
    index, truth = AnswerIndex(), {}
    rng = random.Random(0)
    for n in range(20_000):
        key, location = _id(rng.randrange(8000)), RecordLocation(rng.randrange(5), rng.randrange(2**40))
        index.append(key, location)
        truth[key] = location
        if n % 3000 == 0:
            index.update_index()
    index.update_index()
    assert len(index) == len(truth)
    assert all(index.find(key) == location for key, location in truth.items())
    assert index.find(_id("never asked")) is None


@pytest.mark.parametrize("key", ["00" * 12, "ab" * 11 + "00", "00" * 11 + "01", "ff" * 12])
def test_the_index_knows_ids_that_end_in_zeros(key):
    index = AnswerIndex()
    for number, one in enumerate(["ab" * 10 + "0000", key, "00" * 11 + "02"]):
        index.append(one, RecordLocation(0, number))
    index.update_index()
    assert index.find(key) == RecordLocation(0, 1)
    assert index.find("ab" * 12) is None


def test_an_empty_index_and_a_wrong_id():
    index = AnswerIndex()
    index.update_index()
    assert index.find(_id(1)) is None
    with pytest.raises(ValueError, match="24 digits"):
        index.append("abcd", RecordLocation(0, 0))


def test_what_is_written_is_read_again(tmp_path):
    answers = [
        Response(_id(1), '{"units": []}', tokens=3),
        Response(_id(2), failure="refused", detail="policy"),
        Response(_id(3), "é\u202e\n\U0001f600", tokens=5),
    ]
    with AnswerLog(tmp_path / "raw") as log:
        for answer in answers:
            log.append(answer, "r:1")
        log.append(Response(_id(1), "later"), "r:1", attempt=2)
        assert log.read(_id(1)) is None  # found once it is settled
        log.update_index()
        assert (log.read(_id(1)).text, log.read(_id(1)).attempt) == ("later", 2)
        assert log.read(_id(2))[3:6] == (None, "refused", "policy")
        assert log.tokens == 8
    with AnswerLog(tmp_path / "raw") as log:
        assert len(log) == 3
        assert log.read(_id(3)).text == "é\u202e\n\U0001f600"
        assert log.tokens == 8
    assert [(r.request_id, r.report_id, r.attempt) for r in iter_raw(tmp_path)] == [
        (_id(1), "r:1", 1), (_id(2), "r:1", 1), (_id(3), "r:1", 1), (_id(1), "r:1", 2)
    ]  # fmt: skip


@pytest.mark.parametrize("kept", [0, 1])
def test_a_torn_last_line_is_cut_and_the_next_answer_stands_on_its_own(tmp_path, kept):
    raw = tmp_path / "raw"
    with AnswerLog(raw) as log:
        for n in range(kept):
            log.append(Response(_id(n), "x" * 200_000))
    with (raw / "part-00000.jsonl").open("ab") as stream:
        stream.write(b'{"request_id": "' + b"y" * 100_000)
    assert len(list(iter_raw(tmp_path))) == kept
    with AnswerLog(raw) as log:
        assert len(log) == kept
        log.append(Response(_id("new"), "z"))
    assert [r.request_id for r in iter_raw(tmp_path)][kept:] == [_id("new")]


def test_shards_of_other_writers_count(tmp_path):
    for shard, n in (("part-00000", 1), ("part-00001", 2), ("other", 3)):
        with AnswerLog(tmp_path / "raw", shard) as log:
            log.append(Response(_id(n), shard))
    with AnswerLog(tmp_path / "raw") as log:
        assert [log.read(_id(n)).text for n in (1, 2, 3)] == ["part-00000", "part-00001", "other"]


def test_two_writers_of_one_shard_are_refused(tmp_path):
    with AnswerLog(tmp_path / "raw"), pytest.raises(UsageError, match="another process"):
        AnswerLog(tmp_path / "raw")
    with AnswerLog(tmp_path / "raw"):
        pass


@pytest.mark.parametrize("line", ["{}", "[]", "no json", '{"request_id": "short"}', '{"request_id": 7}'])
def test_a_damaged_line_is_named(tmp_path, line):
    file = tmp_path / "raw" / "part-00000.jsonl"
    file.parent.mkdir()
    file.write_text(json.dumps({"request_id": _id(1), "text": "x"}) + "\n" + line + "\n")
    with pytest.raises(DataError, match=r"part-00000\.jsonl row 2: is not a raw response"):
        list(iter_raw(tmp_path))
    with pytest.raises(DataError, match="row 2"):
        AnswerLog(tmp_path / "raw")


def test_readers_name_what_is_missing(tmp_path):
    with pytest.raises(UsageError, match="no raw answers"):
        list(iter_raw(tmp_path))
    with pytest.raises(UsageError, match="lgdea extract"):
        list(iter_rejects(tmp_path / "none"))
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "rejects.jsonl").write_text('{"what": 1}\n')
    with pytest.raises(DataError, match="row 1: is not a reject"):
        list(iter_rejects(tmp_path))
