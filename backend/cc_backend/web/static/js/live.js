// Keeps a page with running jobs up to date: asks for the same address again and swaps the parts that changed.
// Pauses in hidden tabs and by its button; speaks at most every 30 s.

const EVERY_S = 30;
const SPEAK_EVERY_MS = 30000;

let shownAt = Date.now();
let spokenAt = 0;
let paused = false;
let timer = 0;

const parts = (root) => new Map([...root.querySelectorAll("[data-live]")].map((part) => [part.dataset.live, part]));
const rows = (root) => new Map([...root.querySelectorAll("[data-row]")].map((row) => [row.dataset.row, row.textContent]));

function say(text) {
  const region = document.querySelector("[data-announce]");
  if (!region || Date.now() - spokenAt < SPEAK_EVERY_MS) return;
  spokenAt = Date.now();
  region.textContent = text;
}

function age() {
  const seconds = Math.round((Date.now() - shownAt) / 1000);
  const text = seconds < 5 ? "now" : seconds < 90 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`;
  for (const place of document.querySelectorAll("[data-live-age]")) place.textContent = text;
}

function swap(fresh) {
  let changed = 0;
  const news = parts(fresh);
  for (const [name, old] of parts(document)) {
    const next = news.get(name);
    if (!next || next.innerHTML === old.innerHTML) continue;
    const before = rows(old);
    const focus = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const scroll = old.querySelector(".scroll")?.scrollLeft ?? 0;
    old.replaceChildren(...next.childNodes);
    for (const row of old.querySelectorAll("[data-row]")) {
      if (before.get(row.dataset.row) === row.textContent) continue;
      changed += 1;
      row.classList.add("changed");
      setTimeout(() => row.classList.remove("changed"), 2000);
    }
    if (scroll) old.querySelector(".scroll").scrollLeft = scroll;
    if (focus) old.querySelector(`a[href="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
  }
  if (changed) say(changed === 1 ? "1 job changed" : `${changed} jobs changed`);
}

async function ask() {
  if (paused || document.hidden) return;
  try {
    const answer = await fetch(location.href, { cache: "no-cache", headers: { Accept: "text/html" } });
    if (answer.status === 401) return stop("You are signed out. Sign in again to see new data.");
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    swap(fresh);
    shownAt = Date.now();
    document.dispatchEvent(new CustomEvent("cockpit:refreshed"));
    if (!fresh.querySelector("[data-live-bar]")) stop("");
  } catch {
    // The server or the network is away; the age on the page says so, and the next round asks again.
  }
  age();
}

function stop(text) {
  clearInterval(timer);
  for (const bar of document.querySelectorAll("[data-live-bar]")) bar.hidden = true;
  spokenAt = 0;
  if (text) say(text);
}

export function live() {
  const bar = document.querySelector("[data-live-bar]");
  if (!bar) return;
  bar.hidden = false;
  const button = bar.querySelector("[data-live-pause]");
  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    button.setAttribute("aria-label", paused ? "Go on with live updates" : "Pause live updates");
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
