"""What the small archive holds, and models that know it or know nothing."""

from __future__ import annotations

import numpy as np

from lgdea.vocabulary.phrases import canonical_phrase, class_texts

FINDINGS = ("pleural_effusion", "cardiomegaly", "pneumothorax")
STUDIES = 90
WIDTH, HEIGHT = 24, 20


def truth_of(number: int) -> tuple[str, ...]:
    """One study in four is normal, most others have one finding, every tenth has two."""
    if number % 4 == 3:
        return ()
    first = number % 3
    return (FINDINGS[first], FINDINGS[(first + 1) % 3]) if number % 10 == 0 else (FINDINGS[first],)


def text_of(number: int) -> str:
    """Normal reports repeat each other word for word; the others name their study."""
    found = truth_of(number)
    return (
        f"Study {number}: {' and '.join(found).replace('_', ' ')}."
        if found
        else "The lungs  are clear."
        if number % 8
        else "The LUNGS are clear."
    )


def box_of(number: int, finding: str) -> tuple[int, int, int, int]:
    x, y = 2 + number % 7, 3 + 4 * FINDINGS.index(finding)
    return x, y, x + 6, y + 4


def number_of(pixels: np.ndarray) -> int:
    first, second = np.rint(np.asarray(pixels)[0, :2] * 255).astype(int)
    return int(first) * 256 + int(second)


class Oracle:
    """Knows every study from the number in its image and the words of its report."""

    name = "oracle"

    def __init__(self, scoring: str = "presence") -> None:
        self.scoring = scoring
        rng = np.random.default_rng(0)
        self.vectors = rng.normal(size=(STUDIES, 16))
        self.texts = {" ".join(text_of(i).lower().split()): i for i in range(STUDIES)}

    def concept(self, number: int) -> np.ndarray:
        """Studies with word-identical reports share a vector."""
        return self.vectors[self.texts[" ".join(text_of(number).lower().split())]]

    def encode_images(self, images):
        return np.stack([self.concept(number_of(image)) for image in images])

    def encode_texts(self, texts):
        return np.stack([self.vectors[self.texts.get(" ".join(t.lower().split()), 0)] for t in texts])

    def score_phrases(self, images, phrases):
        return np.array([[self.score(number_of(image), phrase) for phrase in phrases] for image in images])

    def score(self, number: int, phrase: str) -> float:
        for finding in FINDINGS:
            positive, negative = class_texts(finding)
            if phrase in (canonical_phrase(finding), *positive):
                return 0.2 if finding in truth_of(number) else -0.2
            if phrase in negative:
                return -0.2 if finding in truth_of(number) else 0.2
        return 0.0

    def heat_maps(self, image, phrases):
        maps = []
        for phrase in phrases:
            finding = next(f for f in FINDINGS if canonical_phrase(f) == phrase)
            heat = np.full(image.shape, -1.0)
            x_min, y_min, x_max, y_max = box_of(number_of(image), finding)
            heat[y_min:y_max, x_min:x_max] = 0.9
            maps.append(heat)
        return maps


class Shuffled(Oracle):
    """Answers by chance: the same kinds of numbers without any knowledge."""

    name = "shuffled"

    def __init__(self, scoring: str = "presence", seed: int = 0) -> None:
        super().__init__(scoring)
        self.rng = np.random.default_rng(seed)

    def encode_images(self, images):
        return self.rng.normal(size=(len(images), 16))

    def score(self, number: int, phrase: str) -> float:
        return float(self.rng.normal())

    def heat_maps(self, image, phrases):
        return [self.rng.normal(size=image.shape) for _ in phrases]
