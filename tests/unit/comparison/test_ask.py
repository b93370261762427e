"""A vision-language model is asked alone and beside references: a real server on loopback, from the command line."""

from __future__ import annotations

import base64
import json
import shutil
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lgdea.api.references import make_reference_set
from lgdea.comparison.references.answers import COLUMNS, read_answers
from lgdea.comparison.references.ask import settings_of
from lgdea.comparison.references.triples import read_triples
from lgdea.errors import DataError
from lgdea.evaluation.results.result import read_result
from lgdea.evaluation.tasks import references as score_references
from lgdea.imaging.occlusion import attribution_map, filling, inside_mass, occluded, to_png
from lgdea.records.archive import Archive
from lgdea.runs import fingerprint
from tests.helpers.command_line import run_lgdea
from tests.helpers.openai_server import OpenAIServer, Reply, Seen, error


@pytest.fixture(scope="module")
def triples(bench, tmp_path_factory):
    folder = tmp_path_factory.mktemp("triples")
    settings = {"strategies": ["demographic"], "k": 3, "split": "all", "pool_split": "all"}
    make_reference_set(bench.archive, folder, classes=["cardiomegaly"], **settings)
    return folder


def _pictures(seen: Seen) -> list[bytes]:
    content = seen.body["messages"][0]["content"]
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    return [base64.b64decode(url.partition(",")[2]) for url in urls]


class Reader:
    """Answers rightly beside references, and always yes alone."""

    def __init__(self, bench, folder, logprobs=True):
        table, _ = read_triples(folder)
        labels = table.drop_duplicates("query_id").set_index("query_path")["label"]
        self.labels = {to_png(self._read(bench, path)): label for path, label in labels.items()}
        self.logprobs = logprobs

    @staticmethod
    def _read(bench, path):
        from lgdea.imaging.read import read_image

        return np.asarray(read_image(bench.archive.image_root / path).pixels)

    def __call__(self, seen: Seen) -> Reply:
        pictures = _pictures(seen)
        yes = len(pictures) == 1 or bool(self.labels.get(pictures[-1], 0))
        text = "yes" if yes else "no"
        tops = [{"token": "yes", "logprob": -0.1 if yes else -2.4}, {"token": "no", "logprob": -2.4 if yes else -0.1}]
        entry = {"token": text, "logprob": -0.1, "top_logprobs": tops}
        return Reply(text, logprobs={"content": [entry]} if self.logprobs else None)


def test_asked_scored_and_resumed(bench, triples, tmp_path, capsys):
    out, count = tmp_path / "answers", read_triples(triples)[0]["query_id"].nunique()
    with OpenAIServer(Reader(bench, triples)) as server:
        arguments = ["compare", "ask", str(triples), "--url", server.url, "-k", "1", "-k", "3", "--out", str(out)]
        code, said, err = run_lgdea(capsys, *arguments)
        assert code == 0, err
        assert f"{3 * count} answers of tiny, {3 * count} asked now" in said
        assert server.seen[0].images == 4, "the most images come first"
        before = len(server.seen)
        code, said, _ = run_lgdea(capsys, *arguments)
        assert (code, len(server.seen)) == (0, before), "what is answered is not asked again"
        assert " 0 asked now" in said
    answers = read_answers(out)
    others = bench.archive.images.assign(image_id="other:" + bench.archive.images["image_id"])
    with pytest.raises(DataError, match=r"no query is an image of phantom .*; evaluate with the archive that"):
        score_references(answers, bench.archive.with_tables(images=others), split="all", counts=(1, 3))
    assert answers.table.columns.tolist() == COLUMNS
    assert answers.table.groupby("k").size().to_dict() == {0: count, 1: count, 3: count}
    yes = answers.table["answer"].eq("yes")
    assert answers.table["score"][yes].unique().round(3).tolist() == [0.909]
    results = str(tmp_path / "results")
    scored = ["eval", "references", str(out), str(bench.archive.folder), "--set", "split=all", "--out", results]
    code, said, err = run_lgdea(capsys, *scored, "--set", "counts=[1,3]")
    assert code == 0, err
    result = read_result(results, "references")
    assert result.model == "tiny"
    assert result.metrics["paired/demographic@3/balanced_accuracy_macro"].value == 1.0
    assert result.metrics["single/balanced_accuracy_macro"].value == 0.5
    assert result.metrics["paired/demographic@3/balanced_accuracy_gain"].low > 0.4


def test_without_log_probabilities_scores_are_zero_or_one(bench, triples, tmp_path, capsys):
    with OpenAIServer(Reader(bench, triples, logprobs=False)) as server:
        code, said, _ = run_lgdea(
            capsys, "compare", "ask", str(triples), "--url", server.url, "-k", "3", "--out", str(tmp_path / "a")
        )
    assert code == 0
    assert "100% of the answers have no log-probabilities" in said
    assert set(read_answers(tmp_path / "a").table["score"]) == {0.0, 1.0}


@pytest.fixture
def pictures(bench, tmp_path):
    """A copy of the pictures, one query's of which is damaged and one reference's missing."""
    root = tmp_path / "pictures"
    shutil.copytree(bench.archive.image_root, root)
    return root


def test_a_picture_that_cannot_be_read_is_left_out_and_named(triples, pictures, tmp_path, capsys):
    table, _ = read_triples(triples)
    queries, references = table["query_path"].unique(), table.loc[table["rank"] == 3, "reference_path"]
    only_last = next(p for p in references if p not in set(queries[:1]))
    (pictures / queries[0]).write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    (pictures / only_last).unlink()
    bad = {queries[0], only_last}
    groups = [g.sort_values("rank") for _, g in table.groupby("query_id")]
    shown = [[g["query_path"].iloc[0], *g["reference_path"][:k]] for g in groups for k in (0, 3)]
    whole = sum(not bad & set(paths) for paths in shown)
    assert 0 < whole < len(shown) - 2
    asked = ["compare", "ask", triples, "-k", 3, "--image-root", pictures, "--out", tmp_path / "a"]
    with OpenAIServer(lambda _: Reply("yes")) as server:
        code, said, err = run_lgdea(capsys, *asked, "--url", server.url)
    assert code == 0, err
    assert f"{whole} answers of tiny, {whole} asked now" in said
    assert "2 pictures cannot be read and are left out, first" in " ".join(said.split())
    summary = json.loads((tmp_path / "a" / "run.json").read_text())["summary"]
    assert {item["id"] for item in summary["unreadable"]} == bad


def test_pictures_of_which_none_can_be_read_are_one_line(triples, tmp_path, capsys):
    asked = ["compare", "ask", triples, "-k", 3, "--image-root", tmp_path, "--out", tmp_path / "a"]
    with OpenAIServer(lambda _: Reply("yes")) as server:
        code, _, err = run_lgdea(capsys, *asked, "--url", server.url)
    assert code == 1
    assert "no question has pictures that can be read" in err
    assert "name the folder of the pictures: --image-root" in err
    assert err.strip().count("\n") == 0


def test_answers_that_are_neither_yes_nor_no_are_counted(bench, triples, tmp_path, capsys):
    out, count = tmp_path / "some", 2 * read_triples(triples)[0]["query_id"].nunique()
    asked = ["compare", "ask", triples, "-k", 3, "--out"]
    with OpenAIServer(lambda seen: Reply("purple" if len(_pictures(seen)) > 1 else "yes")) as server:
        code, said, err = run_lgdea(capsys, *asked, out, "--url", server.url, "--json")
    assert code == 0, err
    told = json.loads(said)["result"]
    assert (told["questions"], told["unread"]) == (count // 2, count // 2)
    assert f"{count // 2} of {count} answers are neither yes nor no, first 'purple'" in told["notes"]
    code, _, err = run_lgdea(capsys, "eval", "references", out, bench.archive.folder, "--out", tmp_path / "r")
    assert code == 1
    assert "answers to the query alone and beside references; there are: alone;" in err
    with OpenAIServer(lambda _: Reply("purple")) as server:
        code, _, err = run_lgdea(capsys, *asked, tmp_path / "none", "--url", server.url)
    assert code == 1
    assert f"none of {count} answers is yes or no, first 'purple'" in err
    assert err.strip().count("\n") == 0
    code, _, err = run_lgdea(
        capsys, "eval", "references", tmp_path / "none", bench.archive.folder, "--out", tmp_path / "r"
    )
    assert (code, "holds unfinished answers" in err) == (2, True)


def test_a_server_that_fails_leaves_what_it_answered(bench, triples, tmp_path, capsys):
    right, out = Reader(bench, triples), tmp_path / "a"
    count = read_triples(triples)[0]["query_id"].nunique()
    options = ["--set", "options.retries=0", "--set", "options.backoff_seconds=0.01", "--out", str(out)]
    with OpenAIServer(lambda seen: error(500, "ill") if len(server.seen) % 7 == 3 else right(seen)) as server:
        code, _, err = run_lgdea(capsys, "compare", "ask", str(triples), "--url", server.url, "-k", "3", *options)
        assert code == 1
        assert "run the same command again" in err
        assert err.strip().count("\n") == 0
    with OpenAIServer(right, port=server.port) as again:
        assert run_lgdea(capsys, "compare", "ask", str(triples), "--url", again.url, "-k", "3", *options)[0] == 0
        assert 0 < len(again.seen) < count
        assert len(read_answers(out).table) == 2 * count


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["-k", "9"], "holds 3 references of each query, 9 are needed"),
        (["--backend", "rules"], "backend 'rules' does not take these options"),
        (["--prompt", "nothing"], "no comparative prompt 'nothing'"),
    ],
)
def test_bad_requests_are_one_line(triples, tmp_path, capsys, arguments, problem):
    with OpenAIServer(lambda _: Reply("yes")) as server:
        command = [
            "compare",
            "ask",
            str(triples),
            "--url",
            server.url,
            "-k",
            "1",
            *arguments,
            "--out",
            str(tmp_path / "o"),
        ]
        code, _, err = run_lgdea(capsys, *command)
    assert code == 2
    assert problem in err
    assert err.strip().count("\n") == 0


def test_a_server_that_takes_one_image_is_one_line(triples, tmp_path, capsys):
    with OpenAIServer(lambda _: Reply("yes"), most_images=1) as server:
        code, _, err = run_lgdea(
            capsys, "compare", "ask", str(triples), "--url", server.url, "-k", "3", "--out", str(tmp_path / "o")
        )
    assert code == 2
    assert "takes 1 image in one message, 4 are needed" in err
    assert "or serve a model that reads several images" in err
    assert err.strip().count("\n") == 0


def test_fewer_references_may_be_taken_when_the_server_takes_few_images(bench, triples, tmp_path, capsys):
    out, read = tmp_path / "a", Reader(bench, triples)
    with OpenAIServer(read, most_images=2) as server:
        asked = ["compare", "ask", str(triples), "--url", server.url, "--out", str(out)]
        code, _, err = run_lgdea(capsys, *asked, "-k", "1", "-k", "3")
        assert code == 2
        assert "takes 2 images in one message, 4 are needed" in err
        assert "take fewer references" in err
        code, _, err = run_lgdea(capsys, *asked, "-k", "1")
        assert code == 0, err
        before = read_answers(out).table
        assert before["k"].unique().tolist() == [1, 0]
        code, _, err = run_lgdea(capsys, *asked, "-k", "2")  # now there is something to lose
        assert code == 2
        assert "holds a run with another config" in err
    pd.testing.assert_frame_equal(read_answers(out).table, before)


def test_without_a_server_it_is_said_who_may_answer(triples, tmp_path, capsys):
    code, _, err = run_lgdea(capsys, "compare", "ask", str(triples), "--out", str(tmp_path / "o"))
    assert code == 2
    assert "nobody is named who answers; give --url SERVER, or --backend vllm --model MODEL" in err
    assert not (tmp_path / "o").exists()


def test_what_cannot_be_chosen_is_one_line(bench, tmp_path, capsys):
    folder = str(bench.archive.folder)
    for arguments, problem in [
        (["--strategy", "embedding"], "no model whose embeddings"),
        (["--strategy", "nearest"], "no strategy 'nearest'"),
        (["--finding", "flat_feet"], "flat_feet"),
        (["--split", "nowhere"], "no split 'nowhere'; choose one of train, val, test, all"),
        (["--pool", "nowhere"], "no split 'nowhere'; choose one of train, val, test, all"),
    ]:
        code, _, err = run_lgdea(capsys, "compare", "references", folder, *arguments, "--out", str(tmp_path / "o"))
        assert code == 2, problem
        assert problem in err
        assert err.strip().count("\n") == 0


def test_embedding_by_a_model(bench, tmp_path, capsys):
    chosen = ["compare", "references", str(bench.archive.folder), "--strategy", "embedding", "--model", str(bench.base)]
    code, said, err = run_lgdea(capsys, *chosen, "-k", "2", "--out", str(tmp_path / "t"), "--json")
    assert code == 0, err
    assert json.loads(said)["result"]["triples"] > 0
    table, _ = read_triples(tmp_path / "t")
    assert table["rule"].str.startswith("cosine").all()
    assert (table["query_patient"] != table["reference_patient"]).all()


@pytest.fixture(scope="module")
def damaged(bench, tmp_path_factory):
    """The archive with one image that is damaged; a healthy one, which strategies choose as a reference."""
    folder = tmp_path_factory.mktemp("damaged") / "archive"
    shutil.copytree(bench.archive.folder, folder)
    archive = Archive.open(folder)
    labels = archive.labels
    healthy = labels[labels["finding"].eq("no_finding") & labels["value"].eq(1)]["study_id"]
    train = archive.studies[archive.studies["split"].eq("train") & archive.studies["study_id"].isin(healthy)]
    image = archive.images[archive.images["study_id"].isin(train["study_id"])]["image_id"].iloc[0]
    archive.image_path(image).write_bytes(b"no picture")
    return archive, image


@pytest.mark.parametrize("strategy", ["random", "embedding"])
def test_an_image_that_cannot_be_read_is_no_reference(bench, damaged, tmp_path, capsys, strategy):
    archive, image = damaged
    chosen = ["compare", "references", archive.folder, "--strategy", strategy, "--model", bench.base, "--split", "all"]
    code, said, err = run_lgdea(capsys, *chosen, "-k", 30, "--out", tmp_path / "t")
    assert code == 0, err
    assert f"1 image cannot be read and is left out, first {image}: " in " ".join(said.split())
    table, report = read_triples(tmp_path / "t")
    assert image not in {*table["query_id"], *table["reference_id"]}
    assert [item["id"] for item in report["unreadable"]] == [image]
    intact = ["compare", "references", bench.archive.folder, *chosen[3:], "-k", 30, "--out", tmp_path / "u"]
    assert run_lgdea(capsys, *intact)[0] == 0
    assert image in set(read_triples(tmp_path / "u")[0]["reference_id"])


def test_what_is_counted_is_in_the_triples(bench, tmp_path, capsys):
    chosen = ["compare", "references", bench.archive.folder, "--finding", "nodule", "--most", 1, "--split", "all"]
    code, said, err = run_lgdea(capsys, *chosen, "-k", 2, "--out", tmp_path / "t", "--json")
    assert code == 0, err
    told, (table, report) = json.loads(said)["result"], read_triples(tmp_path / "t")
    assert (told["queries"], told["triples"]) == (2, 4)
    assert (told["references"], report["queries"]) == (table["reference_id"].nunique(), 2)


def test_cells_are_hidden_alone_and_beside_references(bench, triples, tmp_path, capsys):
    out = tmp_path / "answers"
    asked = ["compare", "ask", str(triples), "-k", "2", "--attribution", "2", "--grid", "3", "--out", str(out)]
    with OpenAIServer(Reader(bench, triples)) as server:
        code, _, err = run_lgdea(capsys, *asked, "--url", server.url)
    assert code == 0, err
    answers = read_answers(out)
    assert answers.hidden.groupby(["query_id", "k"]).size().tolist() == [9] * 4
    assert answers.hidden["label"].eq(1).all()
    # Beside references this reader knows the whole picture alone, so every hidden cell turns yes into no.
    assert answers.hidden.groupby("k")["answer"].unique().map(list).to_dict() == {0: ["yes"], 2: ["no"]}
    scored = ["eval", "references", str(out), str(bench.archive.folder), "--set", "counts=[2]", "--set", "split=all"]
    code, _, err = run_lgdea(capsys, *scored, "--out", str(tmp_path / "r"))
    assert code == 0, err
    metrics = read_result(tmp_path / "r", "references").metrics
    assert metrics["attribution/pointing_paired"].n == 2
    query = answers.hidden["query_id"].iloc[0]
    drawn = ["compare", "beside", str(out), str(bench.archive.folder), "--finding", "cardiomegaly", "--out"]
    code, said, err = run_lgdea(capsys, *drawn, str(tmp_path / "b.png"), "--image", query, "--json")
    assert code == 0, err
    assert len(json.loads(said)["result"]["references"]) == 2
    assert Image.open(tmp_path / "b.png").width > 4 * 150
    code, _, err = run_lgdea(capsys, *drawn, str(tmp_path / "c.png"), "--image", bench.archive.images["image_id"][0])
    assert (code, "no hidden cells" in err or query == bench.archive.images["image_id"][0]) == (2, True)
    assert metrics["attribution/inside_mass_paired"].value == pytest.approx(
        metrics["attribution/pointing_chance"].value
    )


def test_answers_without_hidden_cells_say_how_to_ask_for_them(bench, triples, tmp_path, capsys):
    out, image = tmp_path / "answers", bench.archive.images["image_id"][0]
    with OpenAIServer(Reader(bench, triples)) as server:
        assert run_lgdea(capsys, "compare", "ask", triples, "--url", server.url, "-k", 1, "--out", out)[0] == 0
    drawn = ["compare", "beside", out, bench.archive.folder, "--image", image, "--finding", "cardiomegaly"]
    code, _, err = run_lgdea(capsys, *drawn, "--out", tmp_path / "b.png")
    assert code == 2
    assert f"hold no hidden cells of {image}, cardiomegaly; ask for them with --attribution; there are: none" in err


def test_what_is_asked_is_told_from_what_was_answered(bench, triples, tmp_path, capsys):
    evaluated = ["eval", "references", triples, bench.archive.folder, "--out", tmp_path / "r"]
    code, _, err = run_lgdea(capsys, *evaluated)
    assert code == 2
    assert "holds what a model is asked, no answers; let a model answer with `lgdea compare ask`" in err
    for wrong in ("counts=[0]", "strategies=[foo]"):
        code, _, err = run_lgdea(capsys, *evaluated, "--set", wrong)
        assert code == 2
        assert "Tuple should have" not in err


def test_one_query_is_drawn_beside_its_references(bench, tmp_path, capsys):
    image = bench.archive.images["image_id"][3]
    command = ["compare", "beside", str(bench.base), str(bench.archive.folder), "--finding", "nodule", "--grid", "2"]
    code, said, err = run_lgdea(capsys, *command, "-k", "2", "--image", image, "--out", str(tmp_path / "b.png"))
    assert code == 0, err
    assert "years apart" in said.replace("\n", " ")
    assert Image.open(tmp_path / "b.png").height > 2 * 224
    many = ["-k", 5000, "--image", image, "--out", tmp_path / "many.png"]
    code, said, err = run_lgdea(capsys, *command, *many)
    assert code == 0, err
    assert " references: the pool has no more people for this image" in " ".join(said.split())
    page = tmp_path / "b.html"
    code, _, err = run_lgdea(capsys, *command, "-k", "2", "--image", image, "--out", str(page))
    assert code == 0, err
    assert page.read_text().count('class="heat"') == 2  # alone and beside
    code, _, err = run_lgdea(capsys, *command, "--image", image, "--out", str(tmp_path / "b.jpg"))
    assert (code, "end the file's name in .png or .html" in err) == (2, True)
    for arguments, problem in [
        (["--image", "nobody"], "has no image 'nobody'"),
        (["--image", image, "--finding", "x"], "x"),
    ]:
        code, _, err = run_lgdea(capsys, *command, *arguments, "--out", str(tmp_path / "c.png"))
        assert code == 2
        assert problem in err
        assert err.strip().count("\n") == 0


def test_alone_is_asked_once_for_all_strategies(triples):
    table, _ = read_triples(triples)
    both = pd.concat([table, table.assign(strategy="random")])
    settings = settings_of(both, [3])
    assert sum(s.k == 0 for s in settings) == table["query_id"].nunique()
    assert sum(s.k == 3 for s in settings) == 2 * table["query_id"].nunique()


def test_occlusion_finds_the_cell_that_matters():
    rng = np.random.default_rng(0)
    pixels = rng.random((30, 40)).astype(np.float32) * 0.1
    pixels[12:18, 32:40] = 1.0
    references = [np.full((60, 80), 0.05, np.float32), np.full((15, 20), 0.15, np.float32)]
    fill = filling(pixels, references)
    np.testing.assert_allclose(fill, 0.1, atol=1e-6)
    np.testing.assert_allclose(filling(pixels), pixels.mean())
    pictures = list(occluded(pixels, fill, 5))
    assert len(pictures) == 25
    covered = np.stack([p != pixels for p in pictures]).sum(axis=0)
    assert covered.max() == 1, "each pixel is hidden once"
    heat = attribution_map(float(pixels.max()), [float(p.max()) for p in pictures], 30, 40)
    assert heat[12:18, 32:40].min() > 0.8
    mask = np.zeros(pixels.shape, bool)
    mask[12:18, 32:40] = True
    assert inside_mass(heat, mask) == 1.0
    assert np.isnan(inside_mass(-heat, mask))


def test_pictures_are_reduced_and_eight_bit():
    picture = Image.open(BytesIO(to_png(np.linspace(0, 1, 1200, dtype=np.float32).reshape(30, 40), side=20)))
    assert (picture.size, picture.mode) == ((20, 15), "L")
    assert Image.open(BytesIO(to_png(np.ones((5, 7), np.float32)))).getpixel((0, 0)) == 255


def test_triples_are_replaced_when_it_is_said_and_an_archive_never(bench, tmp_path, capsys):
    def make(folder, *more):
        chosen = ("--split", "all", "--pool", "all", "--finding", "cardiomegaly", "-k", "1", "--out", str(folder))
        return run_lgdea(capsys, "compare", "references", str(bench.archive.folder), *chosen, *more)

    out, before = tmp_path / "triples", fingerprint(bench.archive.folder)
    assert make(out)[0] == 0
    code, _, err = make(out, "--seed", "1")
    assert code == 2
    assert "holds a set of triples already; choose another --out, or add --overwrite" in err
    assert make(out, "--seed", "1", "--overwrite")[0] == 0
    assert read_triples(out)[1]["seed"] == 1
    code, _, err = make(bench.archive.folder, "--overwrite")
    assert (code, fingerprint(bench.archive.folder)) == (2, before)
    assert "is not empty and holds no set of triples; choose another --out" in err
    code, _, err = make(out / "report.json" / "x")
    assert code == 2
    assert "the output lies in a file, not in a folder; choose another --out" in err
