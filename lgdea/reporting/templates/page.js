// Evidence marks: pointer, tap and keyboard show the same line.
for (const mark of document.querySelectorAll(".ev")) {
  const show = () => {
    if (mark.classList.contains("ev-off")) return;
    const box = mark.getClientRects()[0];
    showTip(mark.dataset.tip, box.left + box.width / 2, box.top);
  };
  for (const event of ["mouseenter", "focus", "click"]) mark.addEventListener(event, show);
  for (const event of ["mouseleave", "blur"]) mark.addEventListener(event, hideTip);
}

// Filters: a mark takes the look of its first assertion that is switched on.
const hidden = new Set();
for (const button of document.querySelectorAll(".filter")) {
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") === "true";
    button.setAttribute("aria-pressed", String(!on));
    if (on) hidden.add(button.dataset.assertion); else hidden.delete(button.dataset.assertion);
    for (const mark of document.querySelectorAll(".ev")) {
      const all = mark.dataset.assertions.split(" ");
      const shown = all.find((a) => !hidden.has(a));
      for (const a of all) mark.classList.toggle(`ev-${a}`, a === shown);
      mark.classList.toggle("ev-off", shown === undefined);
    }
  });
}

// Heat maps.
document.getElementById("strength")?.addEventListener("input", (event) => {
  document.getElementById("images").style.setProperty("--heat", event.target.value / 100);
});
document.getElementById("boxes")?.addEventListener("change", (event) => {
  document.getElementById("images").classList.toggle("no-boxes", !event.target.checked);
});

// Charts: the values at the pointer are read back from the drawn lines.
for (const chart of document.querySelectorAll(".chart")) {
  const [xLow, xHigh, yLow, yHigh] = chart.dataset.range.split(" ").map(Number);
  const grid = chart.querySelector(".grid");
  const frame = chart.viewBox.baseVal;
  const [left, right, top, bottom] = chart.dataset.frame.split(" ").map(Number);
  const lines = [...chart.querySelectorAll(".line")].map((line) => ({
    label: line.dataset.label,
    points: line.getAttribute("d").slice(1).split("L").map((p) => p.split(",").map(Number)),
  }));
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
  cursor.setAttribute("class", "cursor");
  cursor.setAttribute("visibility", "hidden");
  cursor.setAttribute("y1", top);
  cursor.setAttribute("y2", bottom);
  if (grid) chart.insertBefore(cursor, grid); else chart.append(cursor);
  const round = (v) => String(Number(v.toPrecision(4)));
  chart.addEventListener("pointermove", (event) => {
    const area = chart.getBoundingClientRect();
    const x = ((event.clientX - area.left) / area.width) * frame.width;
    const near = lines.map(({ label, points }) => ({
      label, point: points.reduce((a, b) => (Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a)),
    }));
    if (!near.length || x < left || x > right) { cursor.setAttribute("visibility", "hidden"); hideTip(); return; }
    const at = near[0].point[0];
    const along = xLow + ((at - left) / (right - left)) * (xHigh - xLow);
    const shown = "log" in chart.dataset ? 10 ** along : along;
    const value = (y) => yLow + ((bottom - y) / (bottom - top)) * (yHigh - yLow);
    cursor.setAttribute("x1", at);
    cursor.setAttribute("x2", at);
    cursor.setAttribute("visibility", "visible");
    const rows = near.map(({ label, point }) => `${label}: ${round(value(point[1]))}`);
    showTip([`${chart.dataset.x} ${xHigh > 1 ? Math.round(shown) : round(shown)}`, ...rows].join("\n"), event.clientX, area.top + 10);
  });
  chart.addEventListener("pointerleave", () => { cursor.setAttribute("visibility", "hidden"); hideTip(); });
}

// Tables to copy. A page opened from a disk may have no clipboard of its own, so the selection is copied first.
for (const button of document.querySelectorAll(".copy-button")) {
  button.addEventListener("click", async () => {
    const area = document.getElementById(button.dataset.for);
    area.focus();
    area.select();
    let done = document.execCommand("copy");
    if (!done) done = await navigator.clipboard?.writeText(area.value).then(() => true, () => false);
    button.textContent = done ? "copied" : "press Ctrl+C";
  });
}

// Paper has no buttons: everything is opened for it and closed again afterwards.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open]):not(.copies)")];
  for (const item of opened) item.open = true;
});
addEventListener("afterprint", () => { for (const item of opened) item.open = false; });
