// Keeps a page with running jobs up to date: asks for the same address again and swaps the parts that changed.
// Each part has a key of its own on its page. Pauses in hidden tabs and by its button.
import { news } from "./announce.js";
import { clockLabel } from "./words.js";

const EVERY_S = 30;
const LOST_AFTER = 2; // rounds without an answer

let shownAt = Date.now();
let failures = 0;
let paused = false;
let timer = 0;

const parts = (root) => new Map([...root.querySelectorAll("[data-live]")].map((part) => [part.dataset.live, part]));
const rows = (root) => new Map([...root.querySelectorAll("[data-row]")].map((row) => [row.dataset.row, row.textContent]));
const bars = () => document.querySelectorAll("[data-live-bar]");

function age() {
  const seconds = Math.round((Date.now() - shownAt) / 1000);
  const text = seconds < 5 ? "now" : seconds < 90 ? `${seconds}\u00a0s ago` : `${Math.round(seconds / 60)}\u00a0min ago`;
  for (const place of document.querySelectorAll("[data-live-age]")) place.textContent = text;
}

// What stands here is old: said to the eye as well.
function lost(text) {
  for (const bar of bars()) {
    const mark = bar.querySelector("[data-live-lost]");
    bar.querySelector("[data-live-on]").hidden = Boolean(text);
    mark.hidden = !text;
    const last = clockLabel(shownAt / 1000 + Number(bar.dataset.offset), 60);
    mark.querySelector("span").textContent = text ? `${text}, last ${last}` : "";
  }
}

// Where the focus is, in words that also fit the new part: the row, and the link in it.
function focusIn(part) {
  const active = document.activeElement;
  if (!part.contains(active)) return null;
  const row = active.closest("[data-row]");
  const place = row ? [...part.querySelectorAll("[data-row]")].indexOf(row) : -1;
  return { href: active.getAttribute("href"), id: active.id, row: row?.dataset.row, place };
}

function focusAgain(part, focus) {
  const all = [...part.querySelectorAll("[data-row]")];
  const row = all.find((one) => one.dataset.row === focus.row) ?? all[Math.min(focus.place, all.length - 1)];
  const same = (root) => root && focus.href && root.querySelector(`a[href="${CSS.escape(focus.href)}"]`);
  const byId = focus.id && part.querySelector(`#${CSS.escape(focus.id)}`);
  (byId || same(row) || same(part) || row?.querySelector("a"))?.focus({ preventScroll: true });
}

function swapPart(old, next) {
  const before = rows(old);
  const focus = focusIn(old);
  const scroll = [...old.querySelectorAll(".scroll")].map((box) => [box.scrollLeft, box.scrollTop]);
  const open = [...old.querySelectorAll("details[open]")].map((one) => one.closest("[id]")?.id);
  old.replaceChildren(...next.childNodes);
  let changed = 0;
  for (const row of old.querySelectorAll("[data-row]")) {
    if (before.get(row.dataset.row) === row.textContent) continue;
    changed += 1;
    row.classList.add("changed");
    setTimeout(() => row.classList.remove("changed"), 2000);
  }
  for (const id of before.keys()) if (!old.querySelector(`[data-row="${CSS.escape(id)}"]`)) changed += 1;
  for (const [i, box] of [...old.querySelectorAll(".scroll")].entries()) if (scroll[i]) [box.scrollLeft, box.scrollTop] = scroll[i];
  for (const id of open) if (id) old.querySelector(`#${CSS.escape(id)} details`)?.setAttribute("open", "");
  if (focus) focusAgain(old, focus);
  return changed;
}

function swap(fresh) {
  let changed = 0;
  const fit = parts(fresh);
  for (const [name, old] of parts(document)) {
    const next = fit.get(name);
    if (!next) continue;
    if (next.dataset.say && next.dataset.say !== old.dataset.say) news(next.dataset.say);
    old.dataset.say = next.dataset.say ?? "";
    // A part with keys is only replaced when these change; what is inside keeps itself up to date.
    if ("liveKeys" in old.dataset ? next.dataset.liveKeys === old.dataset.liveKeys : next.innerHTML === old.innerHTML) continue;
    if ("liveKeys" in old.dataset) old.dataset.liveKeys = next.dataset.liveKeys;
    changed += swapPart(old, next);
  }
  if (changed) news(changed === 1 ? "1 job changed" : `${changed} jobs changed`);
}

async function ask() {
  if (paused || document.hidden) return;
  try {
    const answer = await fetch(location.href, { cache: "no-cache", headers: { Accept: "text/html" } });
    if (answer.status === 401) return stop("Signed out");
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    shownAt = Date.now();
    failures = 0;
    lost("");
    document.dispatchEvent(new CustomEvent("cockpit:fetched", { detail: fresh }));
    swap(fresh);
    document.dispatchEvent(new CustomEvent("cockpit:refreshed"));
    if (!fresh.querySelector("[data-live-bar]")) stop("");
  } catch {
    // The server or the network is away: the page says so, and the next round asks again.
    failures += 1;
    if (failures >= LOST_AFTER) lost("Not live");
  }
  age();
}

function stop(text) {
  clearInterval(timer);
  if (text) {
    lost(text);
    news(`${text}. Sign in again to see new data.`);
  } else for (const bar of bars()) bar.hidden = true;
  for (const button of document.querySelectorAll("[data-live-pause]")) button.hidden = true;
}

export function live() {
  const bar = document.querySelector("[data-live-bar]");
  if (!bar) return;
  bar.hidden = false;
  const button = bar.querySelector("[data-live-pause]");
  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    bar.querySelector(".st").classList.toggle("off", paused);
    if (!paused) ask();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && Date.now() - shownAt > EVERY_S * 1000) ask();
  });
  timer = setInterval(ask, EVERY_S * 1000);
  setInterval(age, 5000);
  age();
}
