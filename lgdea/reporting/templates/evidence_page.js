// Report text and everything said about it is untrusted: it becomes text nodes only, never HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const PAGE = 20;
const BADGES = 5;
const two = data.names.length > 1;
const byId = (id) => document.getElementById(id);
const words = (id) => id.replaceAll("_", " ");

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

// A unit as [start, end, finding, assertion, section, alignment, anatomy, laterality, severity, change, prior].
const FIELDS = ["finding", "assertion", "section", "alignment", "anatomy", "laterality", "severity", "change"];
function readUnit(row) {
  if (!row) return null;
  const unit = { start: row[0], end: row[1], prior: row[10] === 1 };
  FIELDS.forEach((name, n) => { unit[name] = data.values[row[n + 2]]; });
  return unit;
}
const reports = data.reports.map(([id, text, order, pairs, errors, rejects, passed]) => ({
  id, text, order,
  low: `${id}\n${text}`.toLowerCase(),
  pairs: pairs.map(([a, b, kind, tier]) => ({ a: readUnit(a), b: readUnit(b), kind, tier: data.values[tier] })),
  errors: errors.map(([name, kind, rank]) => ({ name: data.values[name], kind, rank })),
  rejects: rejects.map(([reason, text, run]) => ({ reason: data.values[reason], text, run })),
  passed: passed.map(([start, end, reason]) => ({ start, end, reason: data.values[reason] })),
}));
const members = Object.fromEntries(
  Object.entries(data.members).map(([name, found]) => [data.values[name], new Set(found.map((f) => data.values[f]))]));
const RANK = { present: 0, uncertain: 1, absent: 2 };
const TIERS = Object.fromEntries([...document.querySelectorAll('option[value^="tier-"]')]
  .map((option) => [option.value.slice(5), option.textContent]));
const unitsOf = (pair) => [pair.a, pair.b].filter(Boolean);
const where = (u) => {  // "right upper lobe" has its side in its name
  const told = u.laterality === "unspecified" || u.anatomy.startsWith(`${u.laterality}_`);
  return [told ? "" : u.laterality, words(u.anatomy)].filter(Boolean).join(" ");
};
const details = (u) => [u.severity, u.change].filter((v) => v !== "unspecified")
  .concat(u.prior ? ["refers to a prior study"] : []).join(", ");
const line = (u) => [`${words(u.finding)}: ${u.assertion}`, where(u), details(u)].filter(Boolean).join(" · ");

// The state of the filters is the part of the address behind "#", so that a view can be linked to.
const form = byId("filters");
const pills = [...form.querySelectorAll(".filter")];
let state = readState();
function readState() {
  const given = new URLSearchParams(location.hash.slice(1));
  const get = (name) => given.get(name) ?? "";
  return {
    q: get("q"), only: get("only"), class: get("class"), finding: get("finding"), section: get("section"),
    alignment: get("alignment"), sort: get("sort"), off: get("off"), report: get("report"),
    page: Math.max(1, Number.parseInt(get("page"), 10) || 1),
  };
}
function writeState(changes) {
  const next = { ...state, page: 1, report: "", ...changes };
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(next)) if (value && !(name === "page" && value === 1)) given.set(name, value);
  location.replace(`#${given.toString() || "reports="}`);
}
function fillForm() {
  for (const control of form.elements) if (control.name) control.value = state[control.name];
  const off = state.off.split(" ");
  for (const pill of pills) pill.setAttribute("aria-pressed", String(!off.includes(pill.dataset.assertion)));
}

// Which units are meant, and which reports have one of them.
function unitFilter() {
  const off = new Set(state.off.split(" "));
  const asked = state.finding || state.section || state.alignment || state.off;
  const one = (u) => (!state.finding || u.finding === state.finding) && (!state.section || u.section === state.section)
    && (!state.alignment || u.alignment === state.alignment) && !off.has(u.assertion);
  const kind = state.only;
  const differs = (pair) => kind === "differ" ? pair.kind !== "same"
    : kind === "only_a" || kind === "only_b" ? pair.kind === kind
    : kind.startsWith("tier-") ? pair.tier === kind.slice(5) : true;
  const about = kind === "differ" || kind.startsWith("only_") || kind.startsWith("tier-");
  const scope = state.class && ["gold", "false", "missed"].includes(kind || "gold") ? members[state.class] : null;
  return {
    needed: Boolean(asked || about),
    match: (pair) => differs(pair) && unitsOf(pair).some(one),
    strong: (pair) => differs(pair) && unitsOf(pair).some((u) => one(u) && (!scope || scope.has(u.finding))),
  };
}
const KINDS = { gold: ["false", "missed"], false: ["false"], missed: ["missed"] };
function askedErrors(report) {
  const kinds = KINDS[state.only || (state.class ? "gold" : "")];
  return kinds && report.errors.filter((e) => kinds.includes(e.kind) && (!state.class || e.name === state.class));
}
function reportFilter() {
  const asked = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  return (report) => {
    if (state.report) return report.id === state.report;
    if (!asked.every((word) => report.low.includes(word))) return false;
    if (askedErrors(report)?.length === 0) return false;
    if (state.only === "refused" && !report.rejects.length) return false;
    return state.only !== "none" || !report.pairs.some((p) => p.a);
  };
}

function render() {
  hideTip();
  const filter = unitFilter();
  let found = reports.filter(reportFilter());
  if (filter.needed && !state.report) found = found.filter((report) => report.pairs.some(filter.match));
  const first = (report) => Math.min(...(askedErrors(report) ?? []).map((e) => e.rank));
  if (!state.sort && KINDS[state.only]) found.sort((x, y) => first(x) - first(y));
  if (state.sort === "archive") found.sort((x, y) => x.order - y.order);
  if (state.sort === "units") found.sort((x, y) => y.pairs.length - x.pairs.length || x.order - y.order);
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  state.page = Math.min(state.page, pages);
  const shown = found.slice((state.page - 1) * PAGE, state.page * PAGE);
  byId("list").replaceChildren(...shown.map((report) => card(report, filter)));
  const units = filter.needed ? found.reduce((n, r) => n + r.pairs.filter(filter.match).length, 0) : 0;
  byId("found").textContent = state.report && !found.length
    ? `Report ${state.report} is not among those that this page holds.`
    : `${found.length} of ${reports.length} reports${units ? `, ${units} matching units` : ""}`;
  byId("page").textContent = `page ${state.page} of ${pages}`;
  byId("previous").disabled = state.page === 1;
  byId("next").disabled = state.page === pages;
}

function card(report, filter) {
  const head = make("header", "");
  const link = make("a", "", report.id);
  link.href = `#${new URLSearchParams({ report: report.id })}`;
  head.append(link);
  const wanted = askedErrors(report) ?? [];  // those that are asked for first
  const errors = [...wanted, ...report.errors.filter((e) => !wanted.includes(e))];
  for (const error of errors.slice(0, BADGES)) head.append(make("span", "notice", `${error.kind}: ${words(error.name)}`));
  if (errors.length > BADGES) head.append(make("span", "notice", `${errors.length - BADGES} more false or missed`));
  const differing = report.pairs.filter((p) => p.kind !== "same").length;
  if (differing) head.append(make("span", "notice tier", `${differing} difference${differing > 1 ? "s" : ""}`));
  if (report.rejects.length) head.append(make("span", "notice refusal", `${report.rejects.length} refused`));
  const article = make("article", "report", head);
  article.tabIndex = -1;
  article.dataset.report = report.id;
  const entries = report.pairs.map((pair) => ({ pair, on: filter.strong(pair), marks: [], row: null }));
  article.append(textOf(report, entries), listOf(report, entries));
  for (const entry of entries) connect(entry);
  return article;
}

// The text is cut at every border of a quote; each piece that some quote covers is one mark, so quotes may overlap.
function textOf(report, entries) {
  const box = make("div", "report-text");
  box.dir = "auto";
  if (!report.text.trim()) { box.append(make("span", "empty", "no text")); return box; }
  const placed = entries.flatMap((entry) => unitsOf(entry.pair).map((unit) => ({ entry, unit })))
    .filter(({ unit }) => unit.alignment !== "none" && unit.start < unit.end && unit.end <= report.text.length);
  const borders = [...new Set([0, report.text.length, ...placed.flatMap(({ unit }) => [unit.start, unit.end]),
    ...report.passed.flatMap(({ start, end }) => [start, end])])]
    .sort((x, y) => x - y);
  for (let n = 0; n + 1 < borders.length; n += 1) {
    const [left, right] = [borders[n], borders[n + 1]];
    const piece = report.text.slice(left, right);
    const over = placed.filter(({ unit }) => unit.start <= left && right <= unit.end).sort((x, y) =>
      Number(y.entry.on) - Number(x.entry.on) || (x.unit.end - x.unit.start) - (y.unit.end - y.unit.start)
      || RANK[x.unit.assertion] - RANK[y.unit.assertion]);
    if (!over.length) {
      const passed = report.passed.find(({ start, end }) => start <= left && right <= end);
      const grey = passed && make("span", "passed-over", piece);
      if (grey) grey.title = `passed over: ${words(passed.reason)}`;
      box.append(grey ?? piece);
      continue;
    }
    const { unit, entry } = over[0];
    const mark = make("mark", `ev ev-${unit.assertion}`, piece);
    mark.classList.toggle("faint-mark", !entry.on);
    mark.classList.toggle("differs", entry.on && entry.pair.kind !== "same");
    mark.classList.toggle("ev-start", unit.start === left);
    mark.classList.toggle("ev-end", unit.end === right);
    const lines = [...new Set(over.filter((o) => o.entry.on || !entry.on)
      .map((o) => `${two && o.entry.pair.kind !== "same" ? (o.unit === o.entry.pair.a ? "A " : "B ") : ""}${line(o.unit)}`))];
    mark.addEventListener("mouseenter", () => {
      const place = mark.getClientRects()[0];
      showTip(lines.join("\n"), place.left + place.width / 2, place.top);
    });
    mark.addEventListener("mouseleave", hideTip);
    for (const one of new Set(over.map((o) => o.entry))) one.marks.push(mark);
    mark.addEventListener("click", () => { light(entry); entry.row.scrollIntoView({ block: "nearest" }); });
    box.append(mark);
  }
  return box;
}

// Units that the filters do not ask for wait behind a heading; so do absent ones where the list would be long.
const LONG = 9;
function listOf(report, entries) {
  const list = make("ul", "unit-list");
  const rank = (entry) => (entry.pair.kind === "same" ? 3 : 0) + Math.min(...unitsOf(entry.pair).map((u) => RANK[u.assertion]));
  const sorted = [...entries].sort((x, y) => Number(y.on) - Number(x.on) || rank(x) - rank(y));
  const negative = (entry) => entry.pair.kind === "same" && (entry.pair.a ?? entry.pair.b).assertion === "absent";
  const absent = sorted.filter((entry) => entry.on && negative(entry));
  const folded = absent.length && absent.length < sorted.length && sorted.length > LONG ? absent : [];
  const others = sorted.filter((entry) => !entry.on);
  for (const entry of sorted) {
    entry.row = entry.pair.kind === "same" ? sameRow(entry.pair) : differingRow(entry.pair);
    entry.row.classList.toggle("off", !entry.on);
    entry.row.tabIndex = 0;
    if (entry.on && !folded.includes(entry)) list.append(entry.row);
  }
  for (const reject of report.rejects) {
    const row = make("li", "refusal", `refused, ${words(reject.reason)}: `, make("bdi", "", reject.text));
    if (two) row.prepend(make("span", `badge run-${"ab"[reject.run]}`, "AB"[reject.run]), " ");
    list.append(row);
  }
  for (const [group, what] of [[folded, "absent"], [others, others.length < sorted.length ? "other" : ""]]) {
    if (!group.length) continue;
    const inner = make("ul", "unit-list", ...group.map((entry) => entry.row));
    const heading = make("summary", "", `${group.length} ${what} unit${group.length > 1 ? "s" : ""}`.replace("  ", " "));
    list.append(make("li", "folded", make("details", "", heading, inner)));
  }
  if (!entries.length && !report.rejects.length) list.append(make("li", "refusal", "no units"));
  return list;
}
const reading = (unit) => [make("span", `assertion a-${unit.assertion}`, unit.assertion),
  make("span", "more", [where(unit), details(unit)].filter(Boolean).map((part) => ` · ${part}`).join(""))];
function sameRow(pair) {
  const unit = pair.a ?? pair.b;
  const row = make("li", `a-${unit.assertion}`, make("b", "", words(unit.finding)), " ", ...reading(unit));
  row.append(make("span", "detail", [words(unit.section), unit.alignment].join(" · ")));
  row.querySelector(".detail").hidden = true;
  return row;
}
function differingRow(pair) {
  const title = pair.a && pair.b && pair.a.finding !== pair.b.finding
    ? `${words(pair.a.finding)} / ${words(pair.b.finding)}` : words((pair.a ?? pair.b).finding);
  const row = make("li", "differing", make("b", "", title), make("span", "why", TIERS[pair.tier] ?? ""));
  for (const [name, unit] of [["a", pair.a], ["b", pair.b]]) {
    const badge = make("span", `badge run-${name}`, name.toUpperCase());
    row.append(make("span", "reading", badge, " ", ...(unit ? reading(unit) : [make("span", "more", "not stated")])));
  }
  return row;
}

// Row and marks light up together.
let lit = null;
function light(entry) {
  for (const element of lit ? [lit.row, ...lit.marks] : []) element.classList.remove("lit");
  const detail = lit?.row.querySelector(".detail");
  if (detail) detail.hidden = true;
  lit = entry;
  const fold = entry?.row.closest("details");
  if (fold) fold.open = true;
  for (const element of entry ? [entry.row, ...entry.marks] : []) element.classList.add("lit");
  const shown = entry?.row.querySelector(".detail");
  if (shown) shown.hidden = false;
}
function connect(entry) {
  entry.row.addEventListener("mouseenter", () => entry.marks.forEach((m) => m.classList.add("lit")));
  entry.row.addEventListener("mouseleave", () => { if (lit !== entry) entry.marks.forEach((m) => m.classList.remove("lit")); });
  entry.row.addEventListener("focus", () => light(entry));
  entry.row.addEventListener("click", () => { light(entry); entry.marks[0]?.scrollIntoView({ block: "nearest" }); });
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", (event) => { if (event.target.name) writeState({ [event.target.name]: event.target.value }); });
for (const pill of pills) {
  pill.addEventListener("click", () => {
    const off = new Set(state.off.split(" ").filter(Boolean));
    if (!off.delete(pill.dataset.assertion)) off.add(pill.dataset.assertion);
    writeState({ off: [...off].join(" ") });
  });
}
byId("reset").addEventListener("click", () => location.replace("#reports="));
function turn(by) {
  writeState({ page: state.page + by });
  byId("reader").scrollIntoView();
}
byId("previous").addEventListener("click", () => turn(-1));
byId("next").addEventListener("click", () => turn(1));

document.addEventListener("click", (event) => {
  // A link into the reports from elsewhere on the page leads to them; the address changes after this.
  const link = event.target.closest('a[href*="="]');
  if (link) setTimeout(() => byId("reader").scrollIntoView());
});
addEventListener("hashchange", () => {
  if (!location.hash.includes("=")) return;  // a heading, not a view
  state = readState();
  fillForm();
  render();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const cards = [...document.querySelectorAll(".report")];
  const at = cards.indexOf(document.activeElement?.closest(".report"));
  const go = { j: Math.min(at + 1, cards.length - 1), k: Math.max(at - 1, 0) }[event.key];
  if (go !== undefined) { cards[go]?.focus(); cards[go]?.scrollIntoView({ block: "start" }); }
  else if (event.key === "n" && !byId("next").disabled) turn(1);
  else if (event.key === "p" && !byId("previous").disabled) turn(-1);
  else if (event.key === "/") { event.preventDefault(); form.elements.q.focus(); }
});
fillForm();
render();
if (location.hash.includes("=")) byId("reader").scrollIntoView({ behavior: "instant" });
