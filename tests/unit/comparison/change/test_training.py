"""A change head: exact under exchange, resumable, in one folder with its model, and a reader of the evaluation."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import lgdea
from lgdea.comparison.change.batches import ChangeBatches, distant_pairs
from lgdea.comparison.change.config import ChangeTrainingConfig
from lgdea.comparison.change.labels import EVENTS, linked_targets, propagated_targets
from lgdea.comparison.change.model import ChangeHead, ChangeModel, StudyTokens
from lgdea.comparison.change.module import change_loss
from lgdea.comparison.change.pairs import choose_priors
from lgdea.comparison.change.sentences import change_sentence
from lgdea.comparison.change.states import STATES
from lgdea.comparison.change.train import load_change_model, train_change_head
from lgdea.comparison.heads import keep_heads
from lgdea.errors import DataError, UsageError
from lgdea.evidence.rules.reader import read_report
from lgdea.imaging.read import read_image
from lgdea.phantom import generate
from lgdea.records.pairing import make_pairing, write_pairing
from tests.helpers.command_line import run_lgdea


@pytest.fixture(scope="module")
def visits(bench, tmp_path_factory):
    """A phantom of patients with several visits, with evidence and a pairing."""
    folder = tmp_path_factory.mktemp("change")
    archive = generate(
        folder / "archive", studies=120, size=64, difficulty="easy", revisits=0.75, masks=False, workers=1
    )
    evidence = lgdea.extract(archive, out=folder / "evidence").folder
    write_pairing(make_pairing(archive, 0.5, 0), folder / "pairing.parquet")
    return folder, archive, evidence


def config_of(bench, visits, **settings):
    folder, archive, evidence = visits
    data = {"archive": archive.folder, "evidence": evidence, "image_cache": folder / "cache", "pairs_per_device": 8}
    content = {
        "model": bench.base,
        "data": {**data, "pairing": folder / "pairing.parquet"},
        "head": {"width": 16, "heads": 2},
        "trainer": {"max_steps": 4, "accelerator": "cpu", "log_every_n_steps": 1},
        "checkpoint": {"every_steps": 2},
    }
    return ChangeTrainingConfig.model_validate({**content, **settings})


@pytest.fixture(scope="module")
def trained(bench, visits):
    return train_change_head(config_of(bench, visits), visits[0] / "run")


def tokens(seed, count=3):
    torch.manual_seed(seed)
    return StudyTokens(torch.randn(count, 7, 12), torch.nn.functional.normalize(torch.randn(count, 7, 8), dim=-1))


def test_exchanging_the_studies_exchanges_the_states_for_any_weights():
    torch.manual_seed(1)
    head = ChangeHead(12, 8, width=16, heads=2).eval()
    z = torch.nn.functional.normalize(torch.randn(4, 8), dim=-1)
    a, b = tokens(2), tokens(3)
    forwards, backwards = head(a, b, z), head(b, a, z)
    assert torch.allclose(forwards[..., [4, 3, 2, 1, 0, 5]], backwards, atol=1e-5)
    assert (forwards[..., 1] - forwards[..., 3]).abs().max() > 1e-3  # and it does tell the orders apart
    same = head(a, a, z)
    assert torch.allclose(same[..., 1], same[..., 3], atol=1e-5)


def test_the_loss_of_in_both_is_that_of_any_of_its_states():
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0, 0.5, 0.3]])
    p = logits.softmax(-1)[0]
    both = torch.eye(7)[6:]
    assert float(change_loss(logits, both)) == pytest.approx(-float((p[1] + p[2] + p[3]).log()), abs=1e-6)
    assert float(change_loss(logits, torch.eye(7)[2:3])) == pytest.approx(-float(p[2].log()), abs=1e-6)


def test_linked_reports_give_the_states_that_they_state_and_imply(visits):
    _, archive, _ = visits
    evidence = archive.extra("evidence_truth")
    pairs = choose_priors(archive, "all", prefer="latest").table
    findings = sorted(set(evidence["finding"]) - {"no_finding"})
    target = linked_targets(pairs, evidence, archive.reports, findings)
    stated = evidence[(evidence["change"] == "worse") & (evidence["assertion"] == "present")].iloc[0]
    study = archive.reports.set_index("report_id").loc[stated["report_id"], "study_id"]
    row = int(np.flatnonzero(pairs["study_current"] == study)[0])
    assert target[row, findings.index(stated["finding"])].tolist() == [0, 1, 0, 0, 0, 0, 0]
    far = linked_targets(pairs.assign(nth=2.0), evidence, archive.reports, findings)
    assert far[..., EVENTS.index("stable")].sum() == 0  # no report compares over a study in between
    assert far[..., EVENTS.index("both")].sum() > 0


def test_propagated_targets_share_a_pairs_confidence():
    target = propagated_targets(np.array([[0.2]]), np.array([[0.5]]), np.array([0.4]))
    assert target.sum() == pytest.approx(0.4)
    assert target[0, 0, EVENTS.index("new")] == pytest.approx(0.4 * 0.8 * 0.5)


def test_distant_pairs_are_in_order_of_time(visits):
    _, archive, _ = visits
    day = archive.studies.set_index("study_id")["day"]
    far = distant_pairs(choose_priors(archive, "all", prefer="latest").table)
    assert len(far) > 20
    assert (day[far["study_current"]].to_numpy() > day[far["study_prior"]].to_numpy()).all()
    assert (far["nth"] > 1).all()


def test_batches_ask_first_for_what_changes_and_are_the_same_for_a_step(visits):
    folder, archive, _ = visits
    pairs = choose_priors(archive, "all", prefer="latest").table
    target = np.zeros((len(pairs), 5, 7), np.float32)
    target[:, :, 5], target[:, 3, 1], target[:, 3, 5] = 1, 1, 0
    from lgdea.imaging.cache import build_cache

    cache = build_cache([(i, archive.image_path(i)) for i in archive.images["image_id"]], folder / "every", 64)
    batches = ChangeBatches(pairs, target, cache, pairs_per_step=4, asked=2, seed=0)
    one, again = batches[3], batches[3]
    assert (one["finding"][:, 0] == 3).all()
    assert torch.equal(one["prior"], again["prior"])
    assert torch.equal(one["target"], again["target"])
    shares = batches.event_shares()
    assert shares.sum() == pytest.approx(1)
    assert shares[1] == pytest.approx(shares[3])


def test_a_stopped_run_goes_on_and_ends_with_the_same_weights(bench, visits, trained):
    folder = visits[0]
    short = config_of(bench, visits)
    from lgdea.comparison import run as runner

    out = folder / "stopped"
    kept = runner._fit

    def stop(trainer, *rest):
        trainer.fit_loop.epoch_loop.max_steps = 2
        return kept(trainer, *rest)

    runner._fit = stop
    try:
        with pytest.raises(lgdea.LgdeaError, match="training stopped at step 2 of 4"):
            train_change_head(short, out)
    finally:
        runner._fit = kept
    train_change_head(short, out)
    a, b = (load_change_model(path).head.state_dict() for path in (trained, out / "model"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_one_folder_holds_model_and_head(bench, trained):
    assert {"change_head.json", "change_head.safetensors", "model.safetensors"} <= {f.name for f in trained.iterdir()}
    assert lgdea.load_model(trained).dim == 16
    with pytest.raises(UsageError, match="the model has no change head"):
        load_change_model(bench.base)
    content = json.loads((trained / "change_head.json").read_text())
    assert content["findings"]
    assert "no_finding" not in content["findings"]


def test_heads_that_a_model_folder_has_are_kept(bench, trained, tmp_path):
    model = lgdea.save_model(lgdea.load_model(trained), tmp_path / "model")
    keep_heads("timm:resnet18", model)  # no folder
    assert not list(model.glob("*_head.*"))
    keep_heads(trained, model)
    assert load_change_model(model).findings == load_change_model(trained).findings


def test_the_evaluation_takes_the_folder_and_shows_both_baselines(visits, trained):
    result = lgdea.evaluate(trained, visits[1], ["change"], split="train", bootstrap_replicates=10)["change"]
    assert result.metrics["swap_consistency"].value == 1
    assert {"balanced_accuracy", "balanced_accuracy_difference", "balanced_accuracy_chance"} <= set(result.metrics)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("days", [None, 1, 12])
def test_our_own_extractor_reads_every_sentence(state, days):
    found = [
        m for m in read_report(change_sentence(state, "left pleural effusion", days)) if m.finding == "pleural_effusion"
    ]
    assert [(m.change, m.laterality, m.assertion == "absent") for m in found] == [(state, "left", state == "resolved")]


def test_the_share_of_absent_findings_is_put_back(visits, trained, bench):
    """Balanced training calls everything half shown; P(shown) counts how rare findings are."""
    model = load_change_model(trained)
    shares = np.exp(model.log_prior)
    assert shares.sum() == pytest.approx(1, abs=1e-6)  # balance 1: the natural shares themselves
    assert shares[5] > 0.5
    assert shares[:5] == pytest.approx(shares[[4, 3, 2, 1, 0]])
    even = torch.full((2, 6), 1 / 6)
    assert model.shown(even).tolist() == pytest.approx([1 - shares[5]] * 2, abs=1e-6)
    assert model.shown(torch.eye(6)).tolist() == pytest.approx([1] * 5 + [0])
    _, archive, _ = visits
    study = choose_priors(archive, "all").table.iloc[0]["study_current"]
    all_findings = [f.replace("_", " ") for f in model.findings[:6]]
    natural = lgdea.read_change(model, study, archive=archive, entities=all_findings)
    model.log_prior = (0.0,) * 6  # as a head that was saved without it
    balanced = lgdea.read_change(model, study, archive=archive, entities=all_findings)
    assert all(a.shown < b.shown for a, b in zip(natural, balanced, strict=True))
    assert [a.state for a in natural] == [b.state for b in balanced]
    assert [a.confidence for a in natural] == [b.confidence for b in balanced]


def test_reading_a_study_and_two_images(visits, trained):
    _, archive, _ = visits
    pair = choose_priors(archive, "all").table.iloc[0]
    found = lgdea.read_change(trained, pair["study_current"], archive=archive, entities=["edema", "left effusion"])
    assert found.pair["study_prior"] == pair["study_prior"]
    assert found.pair["rule"] == pair["rule"]
    assert [item.entity.finding for item in found] == ["edema", "pleural_effusion"]
    shape = read_image(archive.image_path(pair["image_prior"])).pixels.shape
    assert found[0].maps[0].shape == shape
    assert 0 <= found[0].confidence <= 1
    files = [archive.image_path(pair[f"image_{side}"]) for side in ("current", "prior")]
    again = lgdea.read_change(trained, files[0], files[1], entities=["edema"])
    assert again[0].confidence == pytest.approx(found[0].confidence)
    turned = lgdea.read_change(trained, files[1], files[0], entities=["edema"])
    from lgdea.comparison.change.states import MIRROR

    assert turned[0].state == MIRROR[again[0].state]


def test_command_line(visits, trained, capsys, tmp_path):
    _, archive, _ = visits
    study, first = (
        choose_priors(archive, "all").table.iloc[0]["study_current"],
        choose_priors(archive, "all").skipped[0]["id"],
    )
    read = ("compare", "read", trained, "--archive", archive.folder, "--study")
    code, out, _ = run_lgdea(capsys, *read, study, "--entity", "edema")
    assert code == 0
    assert " earlier (same " in out
    asked = ("--entity", "edema", "--entity", "left effusion")
    for ending in ("png", "html"):
        code, out, err = run_lgdea(capsys, *read, study, *asked, "--out", tmp_path / f"change.{ending}")
        assert (code, err) == (0, "")
        assert f"change.{ending}" in out.replace("\n", "")
    with Image.open(tmp_path / "change.png") as picture:
        assert picture.width > 3 * 150
        assert picture.height > 2 * 150
    text = (tmp_path / "change.html").read_text()
    assert text.count("data:image/jpeg") == 2  # prior and current, each once
    assert text.count('class="heat"') == 4  # two entities in both
    assert f"{study} beside its prior" in text
    assert "chosen by: same " in text
    code, _, err = run_lgdea(capsys, *read, study, "--out", tmp_path / "change.pdf")
    assert code == 2
    assert "end the file's name in .png or .html" in err
    code, _, err = run_lgdea(capsys, *read, first)
    assert code == 1
    assert f"study {first} has no prior: " in err
    code, _, err = run_lgdea(capsys, "compare", "read", trained, "--study", study)
    assert code == 2
    assert "give --archive and --study, or --prior and --current" in err


def test_nothing_shown_is_said(visits, trained, capsys, monkeypatch):
    _, archive, _ = visits
    study = choose_priors(archive, "all").table.iloc[0]["study_current"]
    monkeypatch.setattr(ChangeModel, "shown", lambda _, states: torch.zeros(len(states)))
    code, out, err = run_lgdea(capsys, "compare", "read", trained, "--archive", archive.folder, "--study", study)
    assert (code, err) == (0, "")
    assert "neither image probably shows a finding that the model has learned" in " ".join(out.split())
    assert "P(shown)" not in out


def test_no_pairs_is_one_clear_line(bench, visits, tmp_path):
    alone = generate(tmp_path / "alone", studies=40, size=64, revisits=0.0, masks=False, workers=1)
    evidence = lgdea.extract(alone, out=tmp_path / "evidence").folder
    config = config_of(bench, visits)
    data = config.data.model_copy(update={"archive": alone.folder, "evidence": evidence, "pairing": None})
    with pytest.raises(DataError, match=r"no training study has a prior, e.g. .*: the patient has no other study"):
        train_change_head(config.model_copy(update={"data": data}), tmp_path / "run")


def test_the_report_shows_prior_and_current_of_the_worst_and_best_with_maps(visits, trained, capsys, tmp_path):
    _, archive, _ = visits
    results = tmp_path / "head"
    lgdea.evaluate(trained, archive, ["change"], split="all", bootstrap_replicates=0, out=results)
    page = tmp_path / "report.html"
    report = ("report", f"head={results}", "--archive", archive.folder, "--out", page, "--replicates", 0)
    code, _, err = run_lgdea(capsys, *report)
    assert (code, err) == (0, "")
    plain = page.read_text()
    assert "best of head" in plain
    assert 'aria-label="Prior image phantom:' in plain
    assert " days apart, same " in plain
    assert "Where head looked" not in plain  # there is no model to ask
    code, _, err = run_lgdea(capsys, *report, f"head={trained.parent}", "--overwrite")
    assert (code, err) == (0, "")
    mapped = page.read_text()
    counts = [mapped.count(f"Where head looked in the {which} image") for which in ("prior", "current")]
    assert counts[0] == counts[1]
    assert 1 <= counts[0] <= 12
