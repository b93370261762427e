"""One's own archive: ``lgdea data build table studies.csv --out archives/ours`` (``data_cards/table.md``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lgdea.records.adapters.base import Explanation
from lgdea.records.adapters.table.explain import explanation_of
from lgdea.records.adapters.table.parse import parse_source, plain_mapping
from lgdea.records.archive import IMAGE_BITS, Archive, write_archive

NAME = "table"


class TableAdapter:
    """A CSV, TSV or Parquet table of images and reports, read by a mapping or by its columns' usual names.

    The archive and its ids are named by the mapping's ``dataset``, by default the table's file name.
    """

    name = NAME
    card = NAME
    takes_patient_key = True

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """See :class:`~lgdea.records.adapters.base.DatasetAdapter`.

        Args:
            source: The table, or a folder with one.
            out: Archive folder.
            options: ``mapping``, a YAML file, and fields of
                :class:`~lgdea.records.adapters.table.mapping.TableMapping`, dotted where they are nested;
                ``patient_key``, a :class:`~lgdea.records.patient_key.PatientKey`.
        """
        parsed = parse_source(source, options)
        parsed.stop_at_problems()
        info = {
            "source": str(source),
            "table": parsed.source.file.name,
            "rows": len(parsed.source.frame),
            "mapping": plain_mapping(parsed.mapping),
            "guessed": parsed.guessed,
            "left_out": parsed.problems.facts(),
            "notes": parsed.notes,
            **parsed.patient_facts(),
        }
        root, images, bits = parsed.images.root or out, parsed.tables["images"], parsed.mapping.image_bits
        extra = parsed.left_out()
        if bits is not None:
            extra[IMAGE_BITS] = images[["image_id"]].assign(bits=bits)
        name, keys = str(parsed.mapping.dataset), parsed.patient_keys()
        return write_archive(out, name, parsed.tables, root, info, extra, keys)

    def explain(self, source: Path, **options: Any) -> Explanation:
        """Explain what :meth:`build` would do; see :class:`~lgdea.records.adapters.base.Explains`."""
        return explanation_of(parse_source(source, options))


ADAPTER = TableAdapter()
