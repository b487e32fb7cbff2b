// Single keys, as the list behind "?" names them. They never fire inside a field or with a modifier.

const inField = (element) => element.closest("input, select, textarea, [contenteditable], dialog[open]");

let row = -1;

function step(by) {
  const rows = [...document.querySelectorAll("[data-row]")];
  if (!rows.length) return;
  row = Math.max(0, Math.min(rows.length - 1, row + by));
  for (const other of rows) other.classList.toggle("on", other === rows[row]);
  rows[row].querySelector("a")?.focus({ preventScroll: true });
  rows[row].scrollIntoView({ block: "nearest" });
}

const actions = {
  "/": () => {
    const find = document.getElementById("find");
    if (find && getComputedStyle(find).display === "none") find.showPopover();
    document.getElementById("q")?.focus();
  },
  f: () => document.getElementById("filter")?.showPopover(),
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
}
