"use strict";
const written = (row, column) => {
  const cell = row.cells[column];
  return (cell.firstChild ? cell.firstChild.textContent : "").trim();
};
const number = (text) =>
  /^[-+]?(\d[\d,]*\.?\d*(e[-+]?\d+)?|inf)( %)?$/.test(text)
    ? Number.parseFloat(text.replaceAll(",", "").replace("inf", "Infinity"))
    : NaN;
const isUnknown = (text) => text === "" || text === "-";

function sort(table, column, direction) {
  const body = table.tBodies[0];
  const lines = [...body.rows].map((row) => ({ row, text: written(row, column) }));
  const known = lines.filter((line) => !isUnknown(line.text));
  const numeric = known.every((line) => !Number.isNaN(number(line.text)));
  const compared = numeric
    ? (a, b) => number(a.text) - number(b.text) || 0
    : (a, b) => a.text.localeCompare(b.text, "en", { numeric: true });
  known.sort((a, b) => direction * compared(a, b));
  const unknown = lines.filter((line) => isUnknown(line.text));
  body.append(...[...known, ...unknown].map((line) => line.row));
}

for (const table of document.querySelectorAll(".sortable")) {
  if (table.tBodies[0].rows.length < 2) continue;
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      sort(table, column, direction);
    });
  });
}

const closed = [];
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details:not([open])")) {
    part.open = true;
    closed.push(part);
  }
});
addEventListener("afterprint", () => {
  while (closed.length) closed.pop().open = false;
});

const follow = () => {
  const part = location.hash && document.getElementById(location.hash.slice(1));
  if (part instanceof HTMLDetailsElement) part.open = true;
};
addEventListener("hashchange", follow);
for (const link of document.querySelectorAll("a[href^='#']")) link.addEventListener("click", () => {
  document.getElementById(link.hash.slice(1)).open = true;
});
follow();
