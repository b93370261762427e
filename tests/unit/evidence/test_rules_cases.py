"""What the rules read in invented sentences of many styles: units written down before the rules were run on them.

A unit is ``+`` (present), ``-`` (absent) or ``?`` (uncertain), the finding, then its side, severity, change and
``@structure`` in any order; what is not written is unspecified, a structure is compared only where it is written.
"""

import pytest

from lgdea.evidence.rules.reader import read_report

ASSERTIONS = {"+": "present", "-": "absent", "?": "uncertain"}
SIDES = {"left", "right", "bilateral", "midline"}
SEVERITIES = {"minimal", "mild", "moderate", "severe"}
CHANGES = {"new", "worse", "stable", "better", "resolved"}

NEGATION = [
    ("There is no pneumothorax.", "-pneumothorax"),
    ("No evidence of pneumonia, pleural effusion, or pneumothorax.", "-pneumonia; -pleural_effusion; -pneumothorax"),
    ("NO PNEUMOTHORAX. NO EFFUSION.", "-pneumothorax; -pleural_effusion"),
    ("Negative for pulmonary edema.", "-edema @lung"),
    ("The lungs are free of consolidation.", "-consolidation bilateral"),
    ("Neither effusion nor pneumothorax is seen.", "-pleural_effusion; -pneumothorax"),
    ("Pleural effusion is absent.", "-pleural_effusion"),
    ("Without focal consolidation.", "-consolidation"),
    ("Pneumonia has been ruled out.", "-pneumonia"),
    ("Lungs clear. No effusions.", "-opacity bilateral; -pleural_effusion"),
    ("No acute fracture is identified.", "-fracture"),
    ("No new nodule.", "-nodule"),
    ("No definite pneumothorax, although there is a small left effusion.",
     "-pneumothorax; +pleural_effusion left mild"),
    ("No pneumothorax but a moderate right effusion.", "-pneumothorax; +pleural_effusion right moderate"),
    ("Cardiomegaly without pulmonary vascular congestion.", "+cardiomegaly; -pulmonary_congestion"),
    ("There is no longer a right pneumothorax.", "-pneumothorax right resolved"),
    ("The previously noted left effusion is no longer visible.", "-pleural_effusion left resolved"),
    ("No consolidation; mild bibasilar atelectasis.", "-consolidation; +atelectasis bilateral mild @lung_base"),
    ("Lack of pleural effusion.", "-pleural_effusion"),
    ("No large effusion.", "-pleural_effusion severe"),
    ("The heart is not enlarged.", "-cardiomegaly"),
    ("Pneumothorax: none.", "-pneumothorax"),
    ("Right lung is clear.", "-opacity right"),
    ("There is no evidence for acute osseous abnormality.", "-bone_abnormality"),
    ("No CHF.", "-heart_failure"),
    ("No hilar or mediastinal lymphadenopathy.", "-lymphadenopathy @hilum; -lymphadenopathy @mediastinum"),
]  # fmt: skip

UNCERTAINTY = [
    ("Possible left lower lobe pneumonia.", "?pneumonia left @left_lower_lobe"),
    ("Small right effusion cannot be excluded.", "?pleural_effusion right mild"),
    ("Cannot exclude a tiny apical pneumothorax.", "?pneumothorax minimal @lung_apex"),
    ("Findings are suspicious for malignancy.", "?lung_cancer"),
    ("Questionable nodule in the right upper lobe.", "?nodule right @right_upper_lobe"),
    ("Retrocardiac opacity, which may represent atelectasis or pneumonia.",
     "+opacity @retrocardiac; ?atelectasis @retrocardiac; ?pneumonia @retrocardiac"),
    ("Opacity could be due to aspiration.", "+opacity; ?aspiration_pneumonia"),
    ("Basilar opacities, possibly due to atelectasis.", "+opacity @lung_base; ?atelectasis @lung_base"),
    ("Increased markings may be secondary to volume overload.", "+prominent_markings; ?edema"),
    ("Left perihilar opacity concerning for pneumonia.", "+opacity left @hilum; ?pneumonia left @hilum"),
    ("Atelectasis versus consolidation at the left base.",
     "?atelectasis left @lung_base; ?consolidation left @lung_base"),
    ("Opacity in the lingula is compatible with pneumonia in the appropriate clinical setting.",
     "+opacity left @lingula; ?pneumonia left @lingula"),
    ("Suspected rib fracture on the right.", "?rib_fracture right"),
    ("Pulmonary edema is not excluded.", "?edema"),
    ("Pneumothorax is possible.", "?pneumothorax"),
    ("Differential includes pneumonia, atelectasis, and aspiration.",
     "?pneumonia; ?atelectasis; ?aspiration_pneumonia"),
    ("Right base opacity likely represents atelectasis.", "+opacity right @lung_base; +atelectasis right @lung_base"),
    ("Probable scarring in the left apex.", "+scarring left @lung_apex"),
    ("Left basal density suggestive of infiltrate.", "+opacity left @lung_base; ?infiltration left @lung_base"),
    ("No evidence to suggest pneumonia.", "-pneumonia"),
]  # fmt: skip

NOT_OF_NOW = [
    ("History of tuberculosis.", ""),
    ("Rule out pneumothorax.", ""),
    ("Evaluate for pneumonia.", ""),
    ("Follow-up CT is recommended to exclude a nodule.", ""),
    ("Status post left lobectomy.", ""),
    ("INDICATION: Effusion. FINDINGS: Lungs are clear.", "-opacity bilateral"),
    ("COMPARISON: Radiograph with left effusion. IMPRESSION: Normal chest.", "+no_finding"),
    ("REASON FOR EXAM: r/o pneumonia. IMPRESSION: No pneumonia.", "-pneumonia; +no_finding"),
    ("Clinical correlation for pneumonia is advised.", ""),
    ("If there is concern for pulmonary embolism, CT may be obtained.", ""),
    ("Patient has a history of asthma, now with left effusion.", "+pleural_effusion left"),
]  # fmt: skip

SIDES_AND_PLACES = [
    ("Right upper lobe consolidation.", "+consolidation right @right_upper_lobe"),
    ("Consolidation in the right upper and left lower lobes.",
     "+consolidation right @right_upper_lobe; +consolidation left @left_lower_lobe"),
    ("Opacities in the right middle and lower lobes.",
     "+opacity right @right_middle_lobe; +opacity right @right_lower_lobe"),
    ("Right middle and right lower lobe infiltrates.",
     "+infiltration right @right_middle_lobe; +infiltration right @right_lower_lobe"),
    ("Right lower lobe and left lower lobe opacities.",
     "+opacity right @right_lower_lobe; +opacity left @left_lower_lobe"),
    ("Nodules are seen in the left upper lobe and the lingula.",
     "+nodule left @left_upper_lobe; +nodule left @lingula"),
    ("Patchy opacity in the left lung base.", "+opacity left @lung_base"),
    ("Opacity at the base of the left lung.", "+opacity left @lung_base"),
    ("Scarring at the right apex and base.", "+scarring right @lung_apex; +scarring right @lung_base"),
    ("Bilateral pleural effusions.", "+pleural_effusion bilateral"),
    ("Effusions on both sides.", "+pleural_effusion bilateral"),
    ("Bilateral effusions, right greater than left.", "+pleural_effusion bilateral"),
    ("Left greater than right bibasilar atelectasis.", "+atelectasis bilateral @lung_base"),
    ("Small left and moderate right pleural effusions.",
     "+pleural_effusion left mild; +pleural_effusion right moderate"),
    ("Left effusion and right basilar atelectasis.", "+pleural_effusion left; +atelectasis right @lung_base"),
    ("Atelectasis is present bilaterally.", "+atelectasis bilateral"),
    ("Biapical scarring.", "+scarring bilateral @lung_apex"),
    ("Blunting of both costophrenic angles.", "+costophrenic_blunting bilateral"),
    ("Blunted right costophrenic sulcus.", "+costophrenic_blunting right"),
    ("The left hemidiaphragm is elevated.", "+elevated_diaphragm left"),
    ("Fracture of the left clavicle.", "+clavicle_fracture left"),
    ("Old fractures of the left 6th and 7th ribs.", "+rib_fracture left"),
    ("RLL pneumonia.", "+pneumonia right @right_lower_lobe"),
    ("LUL nodule, RML atelectasis.", "+nodule left @left_upper_lobe; +atelectasis right @right_middle_lobe"),
    ("Surgical clips in the right upper quadrant.", "+surgical_clips right @abdomen"),
    ("Surgical clips are seen in the left axilla.", "+surgical_clips left @axilla"),
    ("Right internal jugular catheter with tip in the superior vena cava.", "+central_line right"),
    ("Cardiomegaly with small left effusion.", "+cardiomegaly; +pleural_effusion left mild"),
    ("Mass in the left hilum.", "+mass left @hilum"),
    ("Lungs demonstrate airspace disease in the left lower lobe.", "+airspace_disease left @left_lower_lobe"),
    ("There is volume loss in the right hemithorax.", "+volume_loss right"),
    ("Bilateral opacities, greatest in the right base.", "+opacity bilateral @lung_base"),
    ("Nodule overlying the left sixth rib.", "+nodule left @rib"),
    ("Thoracic spondylosis.", "+degenerative_spine"),
    ("Dextroscoliosis of the thoracic spine.", "+scoliosis right @spine"),
    ("Levoscoliosis.", "+scoliosis left"),
    ("Calcified granuloma in the right lower lung zone.", "+calcified_granuloma right @lower_zone"),
    ("Small pleural effusions.", "+pleural_effusion bilateral mild"),
    ("There is a left base opacity. This may represent pneumonia.",
     "+opacity left @lung_base; ?pneumonia left @lung_base"),
    ("Right base opacity; atelectasis or infiltrate.",
     "+opacity right @lung_base; +atelectasis right @lung_base; +infiltration right @lung_base"),
    ("Left pleural effusion with adjacent compressive atelectasis.", "+pleural_effusion left; +atelectasis"),
    ("Subcutaneous emphysema in the right chest wall and neck.",
     "+subcutaneous_emphysema right @chest_wall; +subcutaneous_emphysema @neck"),
    ("Hyperexpanded lungs with flattened hemidiaphragms.", "+hyperinflation bilateral; +flattened_diaphragm bilateral"),
    ("The right lung is clear. Left lung base opacity.", "-opacity right; +opacity left @lung_base"),
    ("Consolidation and effusion are present on the right.", "+consolidation right; +pleural_effusion right"),
]  # fmt: skip

SEVERITY_AND_CHANGE = [
    ("Mild cardiomegaly.", "+cardiomegaly mild"),
    ("The heart is moderately enlarged.", "+cardiomegaly moderate"),
    ("Severe emphysema.", "+emphysema severe"),
    ("Trace left effusion.", "+pleural_effusion left minimal"),
    ("Tiny right apical pneumothorax.", "+pneumothorax right minimal @lung_apex"),
    ("Large right pleural effusion.", "+pleural_effusion right severe"),
    ("Minimal bibasilar atelectasis.", "+atelectasis bilateral minimal @lung_base"),
    ("Mild to moderate pulmonary edema.", "+edema mild"),
    ("Massive cardiomegaly with small effusions.", "+cardiomegaly severe; +pleural_effusion bilateral mild"),
    ("Unchanged right effusion.", "+pleural_effusion right stable"),
    ("Interval increase in left pleural effusion.", "+pleural_effusion left worse"),
    ("Worsening bilateral airspace opacities.", "+airspace_disease bilateral worse"),
    ("Improved left lower lobe aeration with decreased consolidation.", "+consolidation better"),
    ("New right upper lobe opacity.", "+opacity right new @right_upper_lobe"),
    ("Interval development of a left pneumothorax.", "+pneumothorax left new"),
    ("Right pneumothorax has resolved.", "-pneumothorax right resolved"),
    ("Interval resolution of pulmonary edema.", "-edema resolved @lung"),
    ("Effusion and atelectasis have resolved.", "-pleural_effusion resolved; -atelectasis resolved"),
    ("Endotracheal tube and chest tube have been removed.", "-endotracheal_tube resolved; -chest_tube resolved"),
    ("No significant interval change in the left effusion.", "+pleural_effusion left stable"),
    ("Stable cardiomegaly, no new consolidation.", "+cardiomegaly stable; -consolidation"),
    ("Persistent right middle lobe atelectasis.", "+atelectasis right stable @right_middle_lobe"),
    ("Pulmonary edema has improved.", "+edema better @lung"),
    ("Without significant interval change of mild left base atelectasis.",
     "+atelectasis left mild stable @lung_base"),
]  # fmt: skip

STYLES = [
    ("COMPARED TO THE PRIOR STUDY, THERE IS NEW LEFT LOWER LOBE CONSOLIDATION.",
     "+consolidation left new @left_lower_lobe"),
    ("As compared to the previous radiograph, the patient has received a nasogastric tube.", "+nasogastric_tube"),
    ("1. Moderate cardiomegaly.\n2. Small right effusion.\n3. No pneumothorax.",
     "+cardiomegaly moderate; +pleural_effusion right mild; -pneumothorax"),
    ("FINDINGS:\nThere is a small left\npleural effusion with no\npneumothorax.",
     "+pleural_effusion left mild; -pneumothorax"),
    ("___ year old man. There is a ___ left effusion.", "+pleural_effusion left"),
    ("Heart: mildly enlarged. Lungs: clear. Pleura: no effusion.",
     "+cardiomegaly mild; -opacity bilateral; -pleural_effusion"),
    ("CT CHEST: Ground-glass opacities in both upper lobes.", "+ground_glass_opacity bilateral @upper_lobe"),
    ("Centrilobular emphysema, upper lobe predominant.", "+emphysema"),
    ("Mediastinal and hilar contours are unremarkable.", "-enlarged_cardiomediastinum; -hilar_enlargement"),
    ("Cardiomediastinal silhouette is within normal limits.", "-enlarged_cardiomediastinum"),
    ("The cardiac silhouette is enlarged.", "+cardiomegaly"),
    ("ET tube tip 4 cm above the carina.", "+endotracheal_tube"),
    ("Enteric tube courses below the diaphragm.", "+nasogastric_tube"),
    ("Median sternotomy wires are intact.", "+sternotomy_wires"),
    ("Left chest wall pacemaker with leads in expected position.", "+pacemaker left"),
    ("Port-a-Cath terminates in the SVC.", "+central_line"),
    ("Pulmonary oedema and small bilateral effusions.", "+edema @lung; +pleural_effusion bilateral mild"),
    ("No haemothorax.", "-hemothorax"),
    ("Aorta is tortuous and calcified.", "+tortuous_aorta; +aortic_calcification"),
    ("Low lung volumes.", "+hypoinflation"),
    ("Degenerative changes of the thoracic spine.", "+degenerative_spine"),
    ("Multiple calcified granulomas bilaterally.", "+calcified_granuloma bilateral"),
    ("Nodular opacity in the left mid lung.", "+nodular_opacity left @middle_zone"),
    ("Interstitial markings are increased.", "+prominent_markings"),
    ("Pleural thickening at the left apex.", "+pleural_thickening left @lung_apex"),
    ("Hiatal hernia.", "+hiatal_hernia"),
    ("Free air under the right hemidiaphragm.", "+pneumoperitoneum right"),
    ("Kerley B lines are present.", "+interstitial_opacity"),
    ("Trachea is midline.", "-tracheal_deviation"),
    ("Compression deformity of T8, age indeterminate.", "+vertebral_fracture"),
]  # fmt: skip

WHOLE = [
    ("Portable AP chest. There has been interval placement of a left-sided chest tube with near "
     "complete resolution of the left pneumothorax.",
     "+chest_tube left new; +pneumothorax left better"),
    ("Comparison is made to prior study from ___. Moderate cardiomegaly is stable. Right lower lobe "
     "opacity has increased.",
     "+cardiomegaly moderate stable; +opacity right worse @right_lower_lobe"),
    ("There is persistent elevation of the right hemidiaphragm with adjacent atelectasis.",
     "+elevated_diaphragm right stable; +atelectasis"),
    ("Heart size is top normal.", ""),
    ("No focal consolidation, effusion, edema, or pneumothorax.",
     "-consolidation; -pleural_effusion; -edema; -pneumothorax"),
    ("Linear opacities at the lung bases, left greater than right, most likely represent atelectasis.",
     "+opacity bilateral @lung_base; +atelectasis bilateral @lung_base"),
    ("There is blunting of the left costophrenic angle, which may represent a small effusion or pleural thickening.",
     "+costophrenic_blunting left; ?pleural_effusion left mild; ?pleural_thickening left"),
    ("The patient is status post median sternotomy and CABG.", ""),
    ("Pulmonary vasculature is mildly engorged.", "+pulmonary_congestion mild"),
    ("A right PICC terminates in the mid SVC. There is no pneumothorax.", "+central_line right; -pneumothorax"),
    ("Left subclavian line tip projects over the right atrium.", "+central_line left"),
    ("Opacity in the right lower lobe is concerning for pneumonia, less likely aspiration.",
     "+opacity right @right_lower_lobe; ?pneumonia right @right_lower_lobe; ?aspiration_pneumonia "
     "right @right_lower_lobe"),
    ("No pleural effusion on the right. Small effusion on the left.",
     "-pleural_effusion right; +pleural_effusion left mild"),
    ("Calcified granuloma in the left mid lung, unchanged.", "+calcified_granuloma left stable @middle_zone"),
    ("Left-sided pleural effusion, moderate in size.", "+pleural_effusion left moderate"),
    ("Multifocal opacities in both lungs, consistent with multifocal pneumonia.",
     "+opacity bilateral @lung; +pneumonia bilateral @lung"),
    ("Enlarged cardiac silhouette with mild vascular congestion and no overt edema.",
     "+cardiomegaly; +pulmonary_congestion mild; -edema"),
    ("The right costophrenic angle is blunted.", "+costophrenic_blunting right"),
    ("There is a 9 mm nodule in the right upper lobe, not seen on the prior study.",
     "+nodule right new @right_upper_lobe"),
    ("Unremarkable heart size. Clear lungs.", "-cardiomegaly; -opacity bilateral"),
    ("Bony thorax is intact.", "-bone_abnormality"),
    ("Old healed left clavicle fracture.", "+clavicle_fracture left"),
    ("Bibasilar opacities, right greater than left, compatible with atelectasis or pneumonia.",
     "+opacity bilateral @lung_base; +atelectasis bilateral @lung_base; +pneumonia bilateral @lung_base"),
    ("Hyperinflation and flattening of the diaphragms consistent with COPD.",
     "+hyperinflation; +flattened_diaphragm bilateral; +copd"),
    ("Neither lung shows consolidation.", "-consolidation"),
    ("There is no change in the bilateral pleural effusions.", "+pleural_effusion bilateral stable"),
    ("Right hilar and mediastinal lymphadenopathy.", "+lymphadenopathy right @hilum; +lymphadenopathy @mediastinum"),
    ("The nasogastric tube has been removed. Endotracheal tube remains in place.",
     "-nasogastric_tube resolved; +endotracheal_tube stable"),
    ("Vague density projecting over the left fifth anterior rib.", "+opacity left @rib"),
    ("Mediastinal widening.", "+enlarged_cardiomediastinum"),
    ("Prominent hila bilaterally.", "+hilar_enlargement bilateral"),
    ("Tracheal deviation to the right.", "+tracheal_deviation right"),
    ("Consolidation within the superior segment of the left lower lobe.", "+consolidation left @left_lower_lobe"),
    ("Segmental atelectasis in the left lower and right middle lobes.",
     "+atelectasis left @left_lower_lobe; +atelectasis right @right_middle_lobe"),
    ("Emphysema with upper lobe bullae.", "+emphysema; +bulla @upper_lobe"),
    ("Patchy left basilar airspace disease, atelectasis versus pneumonia.",
     "+airspace_disease left @lung_base; ?atelectasis left @lung_base; ?pneumonia left @lung_base"),
    ("IMPRESSION: 1) CHF with bilateral effusions. 2) No pneumothorax",
     "+heart_failure; +pleural_effusion bilateral; -pneumothorax"),
    ("Left lung: consolidation in lower lobe. Right lung: clear.",
     "+consolidation left @left_lower_lobe; -opacity right"),
    ("Lungs: No consolidation. Small nodule RUL.",
     "-consolidation bilateral @lung; +nodule right mild @right_upper_lobe"),
    ("Interval removal of right chest tube without pneumothorax.", "-chest_tube right resolved; -pneumothorax"),
    ("Low lung volumes accentuate the cardiac silhouette.", "+hypoinflation"),
    ("Possible small left pleural effusion, but no pneumothorax.", "?pleural_effusion left mild; -pneumothorax"),
    ("Osseous structures are demineralized. Mild wedging of a mid thoracic vertebral body.",
     "+osteopenia; +vertebral_fracture mild"),
    ("There is no pneumothorax or pleural effusion and the heart is mildly enlarged.",
     "-pneumothorax; -pleural_effusion; +cardiomegaly mild"),
    ("Small bilateral pleural effusions have slightly decreased, now trace on the left.",
     "+pleural_effusion bilateral mild better"),
    ("Left retrocardiac opacity persists and may reflect atelectasis.",
     "+opacity left stable @retrocardiac; ?atelectasis left @retrocardiac"),
]  # fmt: skip

CASES = [*NEGATION, *UNCERTAINTY, *NOT_OF_NOW, *SIDES_AND_PLACES, *SEVERITY_AND_CHANGE, *STYLES, *WHOLE]


def _expected(unit):
    words = unit.split()
    rest = set(words[1:])
    picked = []
    for values in (SIDES, SEVERITIES, CHANGES):
        found = rest & values
        rest -= found
        picked.append(found.pop() if found else "unspecified")
    place = next((word[1:] for word in rest if word.startswith("@")), None)
    return words[0][1:], ASSERTIONS[words[0][0]], *picked, place


@pytest.mark.parametrize(("text", "units"), CASES, ids=[text[:40] for text, _ in CASES])
def test_units(text, units):
    wanted = sorted(map(_expected, filter(None, (u.strip() for u in units.split(";")))), key=str)
    items = [i for i in read_report(text) if i.finding != "no_finding" or "no_finding" in units]
    found = [(i.finding, i.assertion, i.laterality, i.severity, i.change, i.anatomy) for i in items]
    where = {w[:-1] for w in wanted if w[-1] is None}
    found = [(*f[:-1], None) if f[:-1] in where else f for f in found]
    assert sorted(found, key=str) == wanted


@pytest.mark.parametrize("text", [text for text, _ in CASES])
def test_quotes_are_in_the_text_and_hold_the_finding(text):
    for item in read_report(text):
        assert 0 <= item.start < item.end <= len(text)
        if item.finding != "no_finding":
            assert item.finding_text in text[item.start : item.end]
