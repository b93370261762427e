"""Every metric that a result may hold, by definition id.

An id is part of every result. When the meaning of a number changes, its version changes too, and results of different
versions are never put into one table.
"""

from __future__ import annotations

DEFINITIONS: dict[str, str] = {
    "zero-shot/auroc-v1": "Area under the ROC curve of one class over images; ties count one half.",
    "zero-shot/auprc-v1": "Average precision of one class over images; tied scores are one threshold.",
    "zero-shot/f1-v1": "F1 of score >= the threshold with the best F1 on the validation split.",
    "zero-shot/mcc-v1": "Matthews correlation at the threshold of zero-shot/f1-v1.",
    "zero-shot/prevalence-v1": "Share of positive among labelled images: the chance level of AUPRC.",
    "zero-shot/threshold-v1": "The score with the best F1 on the validation split, half way to the next lower score.",
    "zero-shot/single-label-accuracy-v1": "The highest-scoring class is the positive one; images with exactly one "
    "positive class and no unknown one, at most `single_label_per_class` per class, classes weighing the same.",
    "zero-shot/single-label-chance-v1": "1 / number of classes in zero-shot/single-label-accuracy-v1.",
    "retrieval/recall-v1": "Probability that a report (image) of the query's study, or one of a study with a "
    "word-identical report, is among the first k; expectation over tied orders.",
    "retrieval/recall-chance-v1": "retrieval/recall-v1 of a random order of the candidates. Random embeddings can fall "
    "below it, because word-identical reports share one and come as a block.",
    "retrieval/median-rank-v1": "Median over queries of the expected rank of the first positive.",
    "retrieval/evidence-precision-v1": "Mean evidence overlap (Jaccard of present findings, with the side when so "
    "configured) of the first k candidates.",
    "retrieval/evidence-precision-chance-v1": "retrieval/evidence-precision-v1 of a random order.",
    "retrieval/evidence-precision-prior-v1": "retrieval/evidence-precision-v1 of the best list of candidates that is "
    "the same for every query, chosen by the queries themselves.",
    "retrieval/evidence-ndcg-v1": "nDCG@k with linear gain = evidence overlap, discount 1/log2(rank+1), tie-aware.",
    "retrieval/evidence-ndcg-chance-v1": "retrieval/evidence-ndcg-v1 of a random order.",
    "retrieval/evidence-ndcg-prior-v1": "retrieval/evidence-ndcg-v1 of the best list of candidates that is the same "
    "for every query, chosen by the queries themselves.",
    "grounding/cnr-v1": "|m_in - m_out| / sqrt(v_in + v_out) of the map clamped at 0, source pixels, one map per "
    "(image, phrase), inside = union of its boxes.",
    "grounding/miou-v1": "Mean over thresholds of IoU(map > threshold, union of boxes), source pixels.",
    "grounding/pointing-v1": "Share of (image, phrase) whose map is highest inside a box; tied maxima share.",
    "grounding/pointing-chance-v1": "grounding/pointing-v1 of a random pixel: the boxes' share of the crop.",
    "probe/linear-auroc-v1": "Area under the ROC curve, mean over draws of the training patients, of logistic "
    "regressions on frozen embeddings, standardised over all training images; the cost, one for all classes of a draw, "
    "has the best macro AUROC on the validation split. A class whose drawn labels are all of one kind is at chance.",
    "probe/linear-auprc-v1": "Average precision of the scores of probe/linear-auroc-v1, mean over draws.",
    "probe/knn-auroc-v1": "As probe/linear-auroc-v1 of the share of votes, exp(cosine / temperature), of the k nearest "
    "labelled training images; k, one for all classes of a draw, has the best macro AUROC on the validation split.",
    "probe/knn-auprc-v1": "Average precision of the scores of probe/knn-auroc-v1, mean over draws.",
    "probe/draw-sd-v1": "Standard deviation of the macro AUROC over the draws of the training patients.",
    "probe/prevalence-v1": "Share of positive among labelled images: the chance level of AUPRC.",
    "features/linear-balanced-accuracy-v1": "Mean over classes of the share of images called rightly by a multinomial "
    "logistic regression on standardised embeddings, cross-validated by patient; classes weigh the same in training, "
    "the cost is chosen on a fifth of the training patients.",
    "features/knn-balanced-accuracy-v1": "As features/linear-balanced-accuracy-v1 of the class with the most votes, "
    "exp(cosine / temperature), of the k nearest training images, divided by the class's number of training images.",
    "features/accuracy-chance-v1": "1 / number of classes.",
    "features/silhouette-v1": "Mean silhouette with cosine distance.",
    "features/fisher-ratio-v1": "Trace of the scatter between classes / trace of that within them, unit embeddings.",
    "features/davies-bouldin-v1": "Davies-Bouldin index of unit embeddings, Euclidean; lower is better.",
    "features/frechet-v1": "Squared Frechet distance of Gaussian fits to the first principal components of the unit "
    "embeddings, scaled so that their total variance is 1: of a pair of classes, or of a class and all others.",
    "features/frechet-variance-v1": "Share of the embeddings' variance in the components of features/frechet-v1.",
    "features/permuted-v1": "The metric's mean over shufflings of the classes: what it is when they mean nothing.",
    "features/overlay-shift-v1": "Mean distance that a burnt-in text moves a unit embedding / mean distance between "
    "two class means of the images without it; lower is better.",
    "features/overlay-changed-v1": "Share of images whose nearest class mean, from the other folds, changes with a "
    "burnt-in text; lower is better.",
    "grounding/pointing-prior-v1": "grounding/pointing-v1 of one fixed place in every image, in shares of width and "
    "height: the one that most boxes of other patients cover, classes weighing the same.",
    "grounding/pointing-class-prior-v1": "grounding/pointing-prior-v1 with a fixed place for each class.",
    "grounding/iou-hit-v1": "Share of the true boxes of an (image, phrase) that a box of its map overlaps with "
    "IoU > T. Boxes: connected regions of the map at or above mean + level (peak - mean).",
    "grounding/iobb-hit-v1": "grounding/iou-hit-v1 with IoBB, intersection over the area of the map's box. "
    "Small and many boxes raise it, so read it with grounding/iobb-false-v1.",
    "grounding/iou-false-v1": "Boxes of a map that overlap no true box with IoU > T; lower is better.",
    "grounding/iobb-false-v1": "Boxes of a map that overlap no true box with IoBB > T; lower is better.",
    "grounding/iou-hit-whole-v1": "grounding/iou-hit-v1 of one box around the whole image; its IoBB is the same.",
    "grounding/iou-hit-centre-v1": "grounding/iou-hit-v1 of one box in the middle, half as wide and high as the image.",
    "grounding/iobb-hit-centre-v1": "grounding/iobb-hit-v1 of that box.",
    "grounding/ap-v1": "Average precision of a class's boxes at IoU >= T: COCO's matching and 101 recall points, tied "
    "scores one threshold; score = mean of the map over the box's region, one image for each (image, phrase).",
    "grounding/ap-whole-v1": "grounding/ap-v1 of one box around the whole image, all with the same score.",
    "change/balanced-accuracy-v1": "Mean over the states (new, worse, stable, better, resolved, or three of them) of "
    "the share of their items, a finding of a pair of studies, that are answered rightly; the answer is the most "
    "probable of the states. Of one finding: over the states that at least `min_items` of its items have.",
    "change/balanced-accuracy-macro-v1": "Mean over findings of change/balanced-accuracy-v1.",
    "change/balanced-accuracy-difference-v1": "change/balanced-accuracy-v1 of the difference of the two images' "
    "zero-shot scores: new or resolved when one alone is above a threshold, else worse or better when they lie far "
    "enough apart; both thresholds, one for all findings, have the best balanced accuracy on the validation split.",
    "change/balanced-accuracy-difference-macro-v1": "Mean over findings of change/balanced-accuracy-difference-v1.",
    "change/balanced-accuracy-chance-v1": "change/balanced-accuracy-v1 of the answer stable to everything.",
    "change/balanced-accuracy-chance-macro-v1": "Mean over findings of change/balanced-accuracy-chance-v1.",
    "change/accuracy-v1": "Share of items that are answered rightly.",
    "change/swap-consistency-v1": "Share of items whose answer is mirrored (worse and better, new and resolved, "
    "stable) when prior and current are exchanged.",
    "change/swap-flipped-v1": "change/swap-consistency-v1 over the items that are not answered stable.",
    "change/set-accuracy-v1": "Share of items answered rightly both as they are and with prior and current exchanged.",
    "answers/accuracy-v1": "Share of questions answered rightly. 4-option: the one letter (or option) in the first "
    "line; yes/no: the first word; open: the label's words, or the one state that lgdea's rules read in it of what was "
    "asked. What is missing, and what decides for several, is wrong.",
    "answers/set-accuracy-v1": "Share of questions answered rightly both as they are and with the images exchanged.",
    "answers/evidence-f1-entity-v1": "F1, micro over items, of the sets of findings that answer and reference state, "
    "as lgdea's rules read both, or of the answer and given evidence; image by image where both say which they mean.",
    "answers/evidence-f1-assertion-v1": "answers/evidence-f1-entity-v1 of (finding, present, absent or uncertain).",
    "answers/evidence-f1-side-v1": "answers/evidence-f1-entity-v1 of (finding, side) where a side is said; bilateral "
    "is left and right.",
    "answers/evidence-f1-change-v1": "answers/evidence-f1-entity-v1 of (finding, change) where a change is said.",
    "answers/evidence-f1-together-v1": "answers/evidence-f1-entity-v1 of (finding, assertion, side, change) at once.",
    "answers/bleu-v1": "BLEU-4 of the corpus in [0, 1], sacrebleu: tokeniser 13a, lower case, exponential smoothing, "
    "one reference.",
    "answers/rouge-1-v1": "Mean F1 of ROUGE-1 with Porter's stemmer, rouge-score.",
    "answers/rouge-2-v1": "Mean F1 of ROUGE-2, likewise.",
    "answers/rouge-l-v1": "Mean F1 of ROUGE-L (longest common subsequence), likewise.",
    "answers/meteor-v1": "Mean METEOR with exact and stemmed matches, without synonyms, NLTK (alpha 0.9, beta 3, gamma "
    "0.5).",
    "answers/plugin-v1": "Mean of the scores of an installed plug-in, which defines them.",
    "grounding/ap-centre-v1": "grounding/ap-v1 of the box of grounding/iou-hit-centre-v1, all with the same score.",
    "entity-retrieval/recall-v1": "Probability that a case whose graded agreement with the query on the entity is at "
    "least `positive_grade` is among the first k of other patients; ties by expectation; queries show the entity; mean "
    "over an entity's queries, then over entities.",
    "entity-retrieval/recall-chance-v1": "entity-retrieval/recall-v1 of a random order of the candidates.",
    "entity-retrieval/ndcg-v1": "nDCG@k with gain = graded agreement on the entity, discount 1/log2(rank+1), "
    "tie-aware; mean over an entity's queries, then over entities.",
    "entity-retrieval/ndcg-chance-v1": "entity-retrieval/ndcg-v1 of a random order of the candidates.",
    "references/balanced-accuracy-single-v1": "(share of the present that are called present + share of the absent "
    "that are called absent) / 2, by the query's score alone; the threshold of a class has the best balanced accuracy "
    "on `threshold_split`; a vision-language model's call is its answer. Macro: mean over classes.",
    "references/balanced-accuracy-z-v1": "As references/balanced-accuracy-single-v1 of the z-score: "
    "(q - m) / (s sqrt(1 + 1/K)), q the query's logit, m the mean of those of K healthy references, s the deviation of "
    "healthy people of `threshold_split` about theirs.",
    "references/balanced-accuracy-ratio-v1": "As references/balanced-accuracy-single-v1 of the log likelihood ratio of "
    "(q, m), present against absent: two Gaussians with one covariance, fitted on `threshold_split`.",
    "references/balanced-accuracy-paired-v1": "As references/balanced-accuracy-single-v1 of a vision-language model's "
    "answer to the query beside K healthy references.",
    "references/balanced-accuracy-self-v1": "As references/balanced-accuracy-single-v1 of the query with its grey "
    "values mapped so that their quantiles are the mean ones of healthy people of the threshold site; no references.",
    "references/balanced-accuracy-standardised-v1": "As references/balanced-accuracy-self-v1 with a map from the mean "
    "quantiles of K healthy references in the place of the query's own.",
    "references/f1-self-v1": "F1 of the calls of references/balanced-accuracy-self-v1.",
    "references/auroc-self-v1": "Area under the ROC curve of the scores of references/balanced-accuracy-self-v1.",
    "references/f1-standardised-v1": "F1 of the calls of references/balanced-accuracy-standardised-v1.",
    "references/auroc-standardised-v1": "Area under the ROC curve of the scores of "
    "references/balanced-accuracy-standardised-v1.",
    "references/f1-single-v1": "F1 of the calls of references/balanced-accuracy-single-v1.",
    "references/auroc-single-v1": "Area under the ROC curve of the scores of references/balanced-accuracy-single-v1.",
    "references/f1-z-v1": "F1 of the calls of references/balanced-accuracy-z-v1.",
    "references/auroc-z-v1": "Area under the ROC curve of the scores of references/balanced-accuracy-z-v1.",
    "references/f1-ratio-v1": "F1 of the calls of references/balanced-accuracy-ratio-v1.",
    "references/auroc-ratio-v1": "Area under the ROC curve of the scores of references/balanced-accuracy-ratio-v1.",
    "references/f1-paired-v1": "F1 of the calls of references/balanced-accuracy-paired-v1.",
    "references/auroc-paired-v1": "Area under the ROC curve of the scores of references/balanced-accuracy-paired-v1.",
    "references/balanced-accuracy-gain-v1": "Macro balanced accuracy beside references less that of the query alone.",
    "references/auroc-gain-v1": "Macro AUROC beside references less that of the query alone.",
    "references/balanced-accuracy-difference-v1": "Macro balanced accuracy of one reading less that of another of the "
    "same queries, which differs in one thing: references or none, the score, the strategy, or their number.",
    "references/f1-difference-v1": "references/balanced-accuracy-difference-v1 of F1.",
    "references/auroc-difference-v1": "references/balanced-accuracy-difference-v1 of AUROC.",
    "references/pointing-single-v1": "Share of findings of which the map of the fall of the query's score, alone, with "
    "one cell after the other filled with the image's mean, is highest in a box; tied maxima share.",
    "references/pointing-paired-v1": "As references/pointing-single-v1 beside references that are held fixed, cells "
    "filled with their mean picture.",
    "references/pointing-chance-v1": "The boxes' share of the image: both attribution metrics of a meaningless map.",
    "references/inside-mass-single-v1": "Mean share of the positive part of the map of references/pointing-single-v1 "
    "that lies in the boxes.",
    "references/inside-mass-paired-v1": "references/inside-mass-single-v1 of the map of references/pointing-paired-v1.",
    "references/pointing-gain-v1": "references/pointing-paired-v1 less references/pointing-single-v1, same findings.",
    "references/inside-mass-gain-v1": "references/inside-mass-paired-v1 less references/inside-mass-single-v1, same "
    "findings.",
    "references/p-value-v1": "One-sided p-value of references/balanced-accuracy-gain-v1 above 0, permutation test by "
    "patient.",
    "entity-retrieval/gain-v1": "Difference of two methods' entity-retrieval metric on the same queries.",
}
"""Definition id to its meaning. ``macro`` is the mean over classes, ``micro`` the mean over items; intervals are 95%
percentile bootstrap over patients."""


def meaning(definition: str) -> str:
    """The sentence behind a definition id.

    Raises:
        KeyError: There is no such definition.
    """
    return DEFINITIONS[definition]
