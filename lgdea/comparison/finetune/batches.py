"""Batches of rows, made by TRL's collator, and the check that their loss is on the answers and on nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lgdea.comparison.finetune.model import image_token_ids, window
from lgdea.comparison.finetune.rows import Row
from lgdea.errors import DataError
from lgdea.imaging.read import read_image

CHECKED_ROWS = 32
IGNORED = -100


def open_picture(file: str | Path) -> Image.Image:
    """A picture as models take it: 8 bits of three equal channels, from PNG, JPEG or DICOM."""
    grey = np.rint(np.clip(read_image(file).pixels, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


class Collator:
    """Opens the pictures of rows and makes a batch of them by TRL's collator for prompt and completion.

    Args:
        processor: Of the model.
    """

    def __init__(self, processor: Any) -> None:
        from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

        # never cut: half an image's tokens fit no image
        self._collate = DataCollatorForVisionLanguageModeling(processor, max_length=None, completion_only_loss=True)

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Tensors of the model's inputs and ``labels`` (rows, tokens), -100 where there is no loss."""
        opened = [{**row, "images": [open_picture(file) for file in row["images"]]} for row in examples]
        return dict(self._collate(opened))


def as_table(rows: list[Row]) -> Any:
    """Rows as a ``datasets.Dataset``."""
    from datasets import Dataset

    return Dataset.from_list([_example(row) for row in rows])


def check_batches(collator: Collator, rows: list[Row], model: Any, processor: Any, file: Path) -> int:
    """Check the labels of the rows most likely to be wrong: those with most images and text, and some others.

    Args:
        collator: Makes the batches.
        rows: All rows.
        model: The model, for its window and image tokens.
        processor: Its processor.
        file: The file of the rows, named in errors.

    Returns:
        Tokens of the longest row.

    Raises:
        DataError: A row has no token with loss, loss on an image or on other words than its answer's, or is longer than
            the model's window.
    """
    by_size = sorted(
        range(len(rows)), key=lambda i: (len(rows[i].images), len(str(rows[i].prompt)) + len(rows[i].answer))
    )
    chosen = dict.fromkeys([by_size[-1], *by_size[:: max(1, len(rows) // CHECKED_ROWS)]])
    return max(_check_row(collator, rows[number], number + 1, model, processor, file) for number in chosen)


def _check_row(collator: Collator, row: Row, number: int, model: Any, processor: Any, file: Path) -> int:
    try:
        batch = collator([_example(row)])
    except (ValueError, IndexError, TypeError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        problem = f"the model's processor refuses it ({first})"
        raise DataError(
            problem, file=file, row=number, remedy="check the number of images that the model takes"
        ) from None
    ids, labels = batch["input_ids"][0], batch["labels"][0]
    limit = window(model)
    if limit is not None and len(ids) > limit:
        raise DataError(
            f"its {len(row.images)} images and text are {len(ids):,} tokens, the model takes {limit:,}",
            file=file, row=number, remedy="make rows of fewer references, or smaller pictures",
        )  # fmt: skip
    learned = labels[labels != IGNORED]
    if not len(learned):
        raise DataError(
            "no token of its answer has loss", file=file, row=number,
            remedy="the chat template does not write the assistant's turn: use the model's own template",
        )  # fmt: skip
    images = image_token_ids(model, processor)
    if any(int(token) in images for token in learned):
        raise DataError(
            "the loss is on tokens of images", file=file, row=number, remedy="use the model's own chat template"
        )
    said = processor.tokenizer.decode(learned)
    if _words(row.answer) not in _words(said):
        raise DataError(
            f"the loss is on {said[:60]!r}, the answer is {row.answer[:60]!r}", file=file, row=number,
            remedy="use the model's own chat template",
        )  # fmt: skip
    return len(ids)


def _example(row: Row) -> dict[str, Any]:
    return {"images": [str(image) for image in row.images], "prompt": row.prompt, "completion": row.completion}


def _words(text: str) -> str:
    return "".join(text.split()).casefold()
