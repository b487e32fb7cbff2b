// Single keys, as the list behind "?" names them, and the row they are at: it survives live updates and a visit to
// the job. Keys never fire inside a field or with a modifier.

const KEPT = "cockpit-row";
const inField = (element) => element.closest("input, select, textarea, [contenteditable], dialog[open]");
const rows = () => [...document.querySelectorAll("[data-row]")];

let marked = null; // the id of the row

function mark(row, { focus = true, scroll = true } = {}) {
  marked = row.dataset.row;
  for (const other of rows()) other.classList.toggle("on", other === row);
  if (focus) row.querySelector("a")?.focus({ preventScroll: true });
  if (scroll) row.scrollIntoView({ block: "nearest" });
}

function step(by) {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex((row) => row.dataset.row === marked);
  mark(all[Math.max(0, Math.min(all.length - 1, at < 0 ? 0 : at + by))]);
}

// The row that led away, for when somebody comes back to the same list.
function keepRow(event) {
  const link = event.target.closest?.("[data-row] a[href]");
  if (!link) return;
  try {
    sessionStorage.setItem(KEPT, JSON.stringify([location.href, link.closest("[data-row]").dataset.row]));
  } catch {
    // Storage may be forbidden; the list is then shown from its top.
  }
}

function backToRow() {
  const back = performance.getEntriesByType("navigation")[0]?.type === "back_forward";
  if (!back && !document.referrer.startsWith(`${location.origin}/monitoring/job/`)) return;
  try {
    const [address, id] = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
    const row = address === location.href && document.querySelector(`[data-row="${CSS.escape(id)}"]`);
    if (row) mark(row);
  } catch {
    // See above.
  }
}

const actions = {
  "/": () => {
    const find = document.getElementById("find");
    if (find && getComputedStyle(find).display === "none") find.showPopover();
    document.getElementById("q")?.focus();
  },
  f: () => document.querySelector("[data-key=f]")?.click(),
  j: () => step(1),
  k: () => step(-1),
  r: () => document.dispatchEvent(new CustomEvent("cockpit:reset")),
  "?": () => document.getElementById("keys")?.showModal(),
};

export function keys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || inField(event.target)) return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  document.addEventListener("click", keepRow);
  document.addEventListener("cockpit:refreshed", () => {
    const row = rows().find((one) => one.dataset.row === marked);
    if (row) mark(row, { focus: false, scroll: false });
  });
  backToRow();
}
