import re
from collections import Counter

import pytest

from lgdea.errors import DataError, UsageError
from lgdea.vocabulary import Anatomy, Finding, Vocabulary, load_vocabulary

V = load_vocabulary()


def test_it_covers_at_least_what_medreco_lists():
    kinds = Counter(f.kind for f in V.findings.values())
    assert len(V.anatomy) >= 42
    assert kinds["finding"] >= 69
    assert kinds["disease"] >= 28


def test_a_consolidation_is_an_opacity_and_not_the_other_way_round():
    assert "consolidation" in V.descendants("opacity")
    assert V.ancestors("consolidation") >= {"consolidation", "airspace_disease", "opacity"}
    assert "opacity" not in V.descendants("consolidation")
    assert "pneumothorax" not in V.descendants("opacity")


def test_ancestors_and_descendants_are_inverse():
    for key in V.findings:
        assert key in V.ancestors(key)
        assert key in V.descendants(key)
        assert all(key in V.descendants(up) for up in V.ancestors(key))


def test_anatomy_is_a_hierarchy_too():
    assert {"right_upper_lobe", "lung_base", "lingula"} <= V.descendants("lung")
    assert V.anatomy["left_lower_lobe"].laterality == "left"


@pytest.mark.parametrize(
    ("system", "code", "finding"),
    [
        ("nih14", "Effusion", "pleural_effusion"),
        ("nih14", "Pleural_Thickening", "pleural_thickening"),
        ("chexpert14", "Lung Opacity", "opacity"),
        ("chexpert14", "No Finding", "no_finding"),
        ("openi14", "normal", "no_finding"),
        ("vindr", "ILD", "interstitial_lung_disease"),
        ("vindr", "Nodule/Mass", "lung_lesion"),
        ("vindr", "Other lesion", None),
        ("rsna", "Lung Opacity", "opacity"),
        ("rsna", "Normal", "no_finding"),
        ("siim", "Pneumothorax", "pneumothorax"),
        ("chestx_det", "Diffuse Nodule", "nodule"),
        ("chestx_det", "Pleural Thickening", "pleural_thickening"),
        ("covidx", "positive", "covid19"),
        ("padchest", "aortic elongation", "tortuous_aorta"),
        ("radlex", "RID5350", "pneumonia"),
        ("openi_mesh", "Cardiomegaly/borderline", "cardiomegaly"),
        ("openi_mesh", "Lung/hypoinflation/mild", "hypoinflation"),
        ("openi_mesh", "Lung/bilateral/hyperdistention", "hyperinflation"),
        ("openi_mesh", "Opacity/lung/base/interstitial", "interstitial_opacity"),
        ("openi_mesh", "Opacity/lung/base/left", "opacity"),
        ("openi_mesh", "Calcinosis/lung/hilum/lymph nodes/right", "calcified_lymph_node"),
        ("openi_mesh", "Aorta, Thoracic/tortuous", "tortuous_aorta"),
        ("openi_mesh", "Lung/obscured", None),
        ("nih14", "No such label", None),
    ],
)
def test_codes_of_other_datasets(system, code, finding):
    assert V.from_code(system, code) == finding


def test_an_unknown_code_system_or_id_is_an_error_with_a_remedy():
    with pytest.raises(UsageError, match="chexpert14"):
        V.from_code("icd10", "J18")
    with pytest.raises(UsageError, match="no_such"):
        V.descendants("no_such")
    with pytest.raises(UsageError, match="phantom"):
        V.classes("icd10")


def test_classes_are_queries_over_the_hierarchy():
    nih = {c.name: c.findings for c in V.classes("nih14")}
    chexpert = {c.name: c.findings for c in V.classes("chexpert14")}
    assert len(nih) == 15
    assert len(chexpert) == 14
    assert "atelectasis" in chexpert["Lung Opacity"]
    assert "hiatal_hernia" in nih["Hernia"]
    assert not nih["Mass"] & nih["Nodule"]
    assert "calcified_nodule" in nih["Nodule"]
    openi = {c.name: c.findings for c in V.classes("openi14")}
    assert openi["Emphysema"] == {"emphysema"}  # bullous emphysema has a heading of its own
    assert "bulla" in nih["Emphysema"]


def test_classes_of_the_detection_datasets():
    vindr = {c.name: c.findings for c in V.classes("vindr")}
    assert len(vindr) == 28 - 2
    assert {"nodule", "mass", "lung_lesion"} <= vindr["Nodule/Mass"]
    assert not vindr["Nodule/Mass"] & (vindr["Lung tumor"] | vindr["Lung cavity"])
    assert "pneumonia" not in vindr["Lung Opacity"]
    assert [len(V.classes(s)) for s in ("chestx_det", "rsna", "siim", "covidx")] == [12, 2, 1, 3]
    covidx = {c.name: c.findings for c in V.classes("covidx")}
    assert "covid19" not in covidx["pneumonia"]
    for system in ("vindr", "chestx_det", "rsna", "siim", "covidx"):
        own = [V.from_code(system, c.name) for c in V.classes(system)]
        assert [[key in c.findings for key in own] for c in V.classes(system)] == [
            [name == other for other in own] for name in own
        ], "a class takes in another one's own finding"


def test_phantom_classes_are_findings():
    classes = V.classes("phantom")
    assert {"pleural_effusion", "nodule"} <= {c.name for c in classes}
    assert "no_finding" not in {c.name for c in classes}


def test_synonyms_are_plain_lower_case_words_and_unique():
    seen: dict[str, str] = {}
    for finding in V.findings.values():
        for synonym in finding.synonyms:
            assert re.fullmatch(r"[a-z0-9 \-/]+", synonym), synonym
            assert seen.setdefault(synonym, finding.id) == finding.id, synonym


def _finding(key: str, **more: object) -> Finding:
    return Finding(id=key, name=key, kind="finding", **more)


def test_a_broken_table_names_the_row():
    with pytest.raises(DataError, match="unknown parent 'b'"):
        Vocabulary({"a": _finding("a", parents=("b",))}, {})
    with pytest.raises(DataError, match="cycle"):
        Vocabulary({"a": _finding("a", parents=("b",)), "b": _finding("b", parents=("a",))}, {})
    with pytest.raises(DataError, match="unknown anatomy"):
        Vocabulary({"a": _finding("a", anatomy="toe")}, {})
    twice = {k: _finding(k, codes={"nih14": ("Mass",)}) for k in ("a", "b")}
    with pytest.raises(DataError, match="taken by a"):
        Vocabulary(twice, {"lung": Anatomy(id="lung", name="lung", region="chest")})
