"""Where a section that is passed over turns to statements about this study, and reading goes on."""

from __future__ import annotations

import re

from lgdea.evidence.layout.sentences import split_flat

_PLAIN_STATEMENT = re.compile(
    r"(?:there (?:is|are|has|have)\b(?! (?:a )?(?:history|concern|clinical))"
    r"|no (?:definite |convincing |radiographic |acute |focal |new |large |significant )*(?:evidence of|pneumothora"
    r"|pleural|effusion|consolidation"
    r"|fracture|lung|pulmonary|infiltrat|airspace|opacit|focal|acute (?:cardio|osseous|process"
    r"|abnormal|disease|finding|intra)|mediastinal|cardio|mass|nodul|abnormal)"
    r"|(?:the )?(?:heart|cardiac|cardiomediastinal|mediastin\w+|lungs?|pulmonary vascul\w+|trachea|hila|pleura\w*"
    r"|bony|osseous|bones|visuali[sz]ed|aorta|hemidiaphragms?|costophrenic|soft tissues|left lung|right lung"
    r"|lung volumes)\b[^.\n]{0,80}\b(?:is|are|normal|clear|unremarkable|enlarged|stable|unchanged|intact"
    r"|remains?|appears?|shows?)\b"
    r"|(?:the |this |an? )?(?:portable |frontal |chest |ap |pa )*(?:x-?rays?|cxr|ct|cta|ctpa|radiographs?|films?|scan"
    r"|views?|study|examination|images?)\b[^.\n]{0,60}\b(?:shows?|demonstrates?|reveals?)\b"
    r"|(?:the )?(?:small|moderate|large|mild|left|right|bilateral|focal|patchy|multiple)\b[^.\n]{0,60}"
    r"\b(?:is|are|persists?|remains?|has|have|noted|seen)\b|(?:as |when )?compared (?:to|with)\b"
    r"|in comparison\b|comparison is made|interval\b|since the (?:prior|previous)"
    r"|unchanged\b|again (?:seen|noted)|normal (?:heart|cardi|chest|study)|clear lungs|heart size|lungs clear"
    r"|lines? and tubes?\b|support (?:lines|devices))",
    re.IGNORECASE,
)
"""Begins of sentences that describe an image, whatever stands before them."""
_VIEWS = re.compile(
    r"(?:(?:single|two|one|three|an?|the|upright|portable|frontal|lateral|ap|pa|semi-?erect|supine|erect|bedside|digital)"
    r"[ ,]+){1,6}(?:and |or |frontal |lateral |portable |view|radiograph|film|image|projection|chest|ap |pa )",
    re.IGNORECASE,
)
"""Begins of sentences that name the views, as a reading does before it says what they show."""
_HISTORY = re.compile(
    r"\b(?:history|h/o|hx|s/p|status post|years?[- ]old|y/?o|yr|male|female|man|woman|m|f|pain\w*|cough\w*|fever\w*"
    r"|chills|dyspn\w+|breath\w*|sob|hypoxi\w+|sats?|saturation|rule out|r/o|evaluat\w+|eval|assess\w*|known|presents?"
    r"|presenting|presented|admitted|patient|pt|please|question\w*|concern\w*|smok\w+|falls?|fell|trauma|mva|mvc|weight|weakness"
    r"|nausea|vomiting|syncope|dizz\w+|fatigue|wheez\w+|hemoptysis|haemoptysis|sputum|sepsis|septic|leuko\w+|wbc|crp"
    r"|diagnos\w+|surgery|operative|op|preop\w*|postop\w*|chemo\w*|therapy|treat\w+|days?|weeks?|months?|diabet\w+"
    r"|hypertension|htn|cancer|ca|asthma|smoker|alcohol\w*|lives|works?|risk|screening|check|exclude|look for|confirm"
    r"|suspect\w*|worsening|acute onset|onset|intubated|transplant|hiv|ivdu|exposure|complain\w*|c/o"
    r"|follow[- ]?up)\b|\?",
    re.IGNORECASE,
)
_STUDY_TALK = re.compile(
    r"\b(?:ct|cta|mri|mr|x-?rays?|xr|cxr|radiograph\w*|films?|stud(?:y|ies)|exams?|examinations?|prior|priors|previous\w*"
    r"|none|available|dated|outside|comparison|reports?|images?|scans?|ultrasound|pet|views?|portable|ap|pa|lateral|frontal"
    r"|upright|supine|erect|obtained|performed|acqui\w+|contrast|intravenous|iv|axial|coronal|sagittal|reformat\w*"
    r"|reconstruct\w*|slices?|sections?|protocols?|dose|dlp|ctdi\w*|kvp?|mas?|mgy\w*|msv|omnipaque|isovue|visipaque|ml|cc"
    r"|technique|helical|multidetector|algorithm|windows?|sequences?|weighted|administ\w+|injection|delay|inspirat\w+"
    r"|expirat\w+|limited|mammogra\w*|hrs?|hours?|am|pm|jan\w*|feb\w*|mar(?:ch)?|apr\w*|june?|july?|aug\w*|sept?\w*|oct\w*"
    r"|nov\w*|dec\w*|monday|tuesday|wednesday|thursday|friday|saturday|sunday|today|yesterday|ago|same day|earlier|knee"
    r"|hand|wrist|ankle|foot|hip|angiogra\w*|protocol|screening|tomograph\w*|fluoro\w*|minutes?|seconds?|archive|pacs)\b"
    r"|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\b(?:19|20)\d\d\b",
    re.IGNORECASE,
)
_ADVICE = re.compile(
    r"\b(?:recommend\w*|suggest\w*|advi[sc]\w+|follow\w*|correlat\w+|should|consider\w*|please|repeat\w*|further|would"
    r"|could|refer\w*|contact|if|biops\w+|may|needs?|ct|mri|pet|ultrasound|clinic\w*|months?|weeks?|years?|management)\b",
    re.IGNORECASE,
)
_OFFICE = re.compile(
    r"\b(?:dr|md|signed|dictated|approved|electronic\w*|phone|telephone|pager?|discussed|communicated|notified|informed"
    r"|by|radiolog\w+|physician|resident|attending|name|number|date|time|am|pm|transcri\w+|reviewed|agree|nurse|team|called"
    r"|paged|email\w*|results?|report\w*|verif\w+|copy|cc|page|end)\b|\d{1,2}:\d\d|\d{1,4}[-/]\d{1,2}[-/]\d{1,4}|_{2,}",
    re.IGNORECASE,
)
_REMOVED = re.compile(r"_{2,}|\[\*\*.*?\*\*\]|\bX{3,}\b|\W{2,}")
"""Marks where a private word was taken out."""
_OWN = {
    "comparison": _STUDY_TALK, "technique": _STUDY_TALK, "examination": _STUDY_TALK, "title": _STUDY_TALK,
    "recommendation": _ADVICE, "notification": _OFFICE, "signature": _OFFICE, "administrative": _OFFICE,
}  # fmt: skip
"""What the sentences of a section talk of; an indication's is the history."""
_ONE_SENTENCE = frozenset({"comparison", "technique", "examination", "administrative"})
"""Sections that are usually over after a sentence; of the others every sentence of a paragraph is taken for theirs."""
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n|[_=*-]{5,}")
_INNER_STOP = re.compile(r"[.!?;][^\W_]|[.!?)\]][ \t]+\S|[|\t\u2013\u2014]|\s-")
_FIRST = 400  # characters of a sentence that are looked at


def is_history(text: str) -> bool:
    """Tell whether words are of a patient's history or of a question."""
    return _HISTORY.search(text) is not None


def resume_at(kind: str, plain: str, start: int, end: int) -> int | None:
    """Return where the text of a section that is passed over turns to statements about this study.

    A paragraph of its own is read unless it talks as the section does. Within a paragraph an image must plainly be
    described; after a comparison, a technique or the name of a study any sentence of another subject is read.

    Args:
        kind: Name of the section.
        plain: The flattened report.
        start: Where the section's text begins.
        end: Where it ends.

    Returns:
        An offset, None when nothing of the section is read.
    """
    is_short = plain.find("\n", start, end - 1) < 0 and not _INNER_STOP.search(plain, start, end)
    if is_short or kind in ("title", "wet_read"):  # most have a single sentence
        return None
    before = start
    described: int | None = (
        None  # where sentences of an indication begin that neither tell a history nor plainly an image
    )
    for first, last in split_flat(plain, start, end):
        gap = plain[before:first]
        is_first = before == start and not gap.strip()
        goes_on = kind in _ONE_SENTENCE and not is_first and "\n" not in gap and plain[before - 1] not in ".!?])"
        before = last
        sentence = plain[first : min(last, first + _FIRST)]
        if not goes_on and _turns(kind, sentence, is_first=is_first, is_paragraph=_BLANK_LINE.search(gap) is not None):
            return first if described is None else described
        if kind == "indication":
            is_own = is_first or is_history(sentence) or _STUDY_TALK.search(sentence) is not None
            described = None if is_own else first if described is None else described
    return None


def _turns(kind: str, sentence: str, *, is_first: bool, is_paragraph: bool) -> bool:
    """Tell whether a sentence of a section that is passed over speaks of this study."""
    plainly = _PLAIN_STATEMENT.match(sentence) is not None
    if is_first:
        return plainly and is_paragraph and kind != "comparison"
    if kind == "indication":
        views, own = _VIEWS.match(sentence) is not None, is_history(sentence)
        return plainly or views or not own if is_paragraph else (plainly or views) and not own
    own = _OWN[kind].search(sentence) is not None or len(_REMOVED.sub("", sentence).split()) < 2
    if kind in _ONE_SENTENCE or is_paragraph:
        return plainly or not own
    return plainly and not own
