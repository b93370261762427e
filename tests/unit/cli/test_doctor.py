from __future__ import annotations

import json

from lgdea.cli.console import console, show_table
from lgdea.imaging import syntaxes
from tests.helpers.command_line import run_lgdea


def test_every_transfer_syntax_decodes_or_has_a_remedy(capsys, monkeypatch):
    code, out, _ = run_lgdea(capsys, "doctor", "--json")
    assert code == 0
    states = {state["name"]: state for state in json.loads(out)["result"]["transfer_syntaxes"]}
    assert states["Explicit VR Little Endian"] == {
        "name": "Explicit VR Little Endian", "uid": "1.2.840.10008.1.2.1", "remedy": None,
    }  # fmt: skip
    assert states["RLE Lossless"]["remedy"] is None
    monkeypatch.setattr(syntaxes, "decoders", lambda uid, bits, samples=1: [])
    monkeypatch.setattr(console, "_width", 200)
    code, out, _ = run_lgdea(capsys, "doctor")
    out = " ".join(out.replace("│", " ").split())
    assert code == 0
    assert "JPEG Lossless, first-order 1.2.840.10008.1.2.4.70 missing: pip install python-gdcm" in out
    assert "works, but for 13 compressions; pip install 'lgdea[dicom]' adds most" in out
    assert "Deflated Explicit VR Little Endian 1.2.840.10008.1.2.1.99 decodes" in out


def test_brackets_and_colons_are_shown_as_they_are(capsys):
    show_table("[x]", ["[a]"], [["pip install 'lgdea[dicom]'"], ["boxes.frame=[width, height]"], ["id:smile:1"]])
    console.print("a/[red]/b.png :smile:")
    out = capsys.readouterr().out
    for words in ("[x]", "[a]", "'lgdea[dicom]'", "[width, height]", "id:smile:1", "a/[red]/b.png :smile:"):
        assert words in out
