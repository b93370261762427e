"""``lgdea doctor``: what works here, and what to install for the rest."""

from __future__ import annotations

from lgdea.cli.console import JsonFlag, show_json, show_table

ABILITIES = [
    ("archives", "pyarrow", "pip install pyarrow"),
    ("DICOM", "pydicom", "pip install pydicom"),
    ("NIfTI volumes (optional)", "nibabel", "pip install nibabel"),
    ("rules extraction", "ahocorasick", "pip install pyahocorasick"),
    ("pretraining", "lightning", "pip install lightning timm transformers"),
    ("image towers", "timm", "pip install timm"),
    ("text towers", "transformers", "pip install transformers"),
    ("graph", "faiss", "pip install faiss-cpu"),
    ("page for people (optional)", "gradio", "pip install 'lgdea[app]'"),
    ("language model extraction (optional)", "vllm", "pip install vllm in an environment of its own"),
]


def doctor(json: JsonFlag = False) -> None:
    """Show versions, devices, what works here and what to install for the rest.

    Example: `lgdea doctor`
    """
    from importlib import import_module, metadata

    from lgdea.runs import environment

    facts = environment()
    try:
        torch = import_module("torch")
        facts["devices"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] or ["cpu"]
        facts["threads"] = torch.get_num_threads()
    except ImportError:
        facts["devices"] = []
    abilities = {}
    for ability, module, remedy in ABILITIES:
        try:
            import_module(module)
            abilities[ability] = "works"
        except ImportError as error:
            abilities[ability] = f"missing {error.name or module}: {remedy}"
    for group in ("lgdea.datasets", "lgdea.backends"):
        facts[group] = sorted(point.name for point in metadata.entry_points(group=group))
    syntaxes = _transfer_syntaxes() if abilities["DICOM"] == "works" else []
    if missing := sum(state["remedy"] is not None for state in syntaxes):
        abilities["DICOM"] = f"works, but for {missing} compressions; pip install 'lgdea[dicom]' adds most"
    if json:
        show_json({**facts, "abilities": abilities, "transfer_syntaxes": syntaxes})
        return
    rows = [(k, v if isinstance(v, str | int) else ", ".join(_pairs(v))) for k, v in facts.items()]
    show_table("environment", ["what", "value"], rows)
    show_table("abilities", ["what", "state"], list(abilities.items()))
    states = [(s["name"], s["uid"], f"missing: {s['remedy']}" if s["remedy"] else "decodes") for s in syntaxes]
    show_table("pixels in DICOM files", ["transfer syntax", "UID", "state"], states)


def _transfer_syntaxes() -> list[dict[str, str | None]]:
    from dataclasses import asdict

    from lgdea.imaging.syntaxes import list_syntaxes

    return [asdict(state) for state in list_syntaxes()]


def _pairs(value: object) -> list[str]:
    if isinstance(value, dict):
        return [f"{k} {v}" for k, v in value.items()]
    return [str(v) for v in value] if isinstance(value, list) else [str(value)]
