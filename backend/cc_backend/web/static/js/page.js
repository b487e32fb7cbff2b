// What every page gets from script. All of it works without, too: forms submit, links lead on.
import { keys } from "./keys.js";
import { live } from "./live.js";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Parts that only make sense with or without script.
const fitScript = () => {
  for (const element of all("[data-script]")) element.hidden = false;
  for (const element of all("[data-noscript]")) element.hidden = true;
};
fitScript();
document.addEventListener("cockpit:refreshed", fitScript);
document.documentElement.dataset.script = "";

// A select that shows its choice at once.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
});

// Fields that say nothing, or what holds anyway, stay out of the address.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "get" || form.getAttribute("method") === "dialog") return;
  for (const field of form.elements) if (field.name && (field.value === "" || field.value === field.dataset.default)) field.disabled = true;
  setTimeout(() => {
    for (const field of form.elements) field.disabled = false;
  });
});

// Dialogs are popovers without script and modal with it: the focus stays inside, and returns to what opened them.
for (const dialog of all("dialog[popover]")) {
  dialog.removeAttribute("popover");
  for (const button of all(`[popovertarget="${dialog.id}"]`)) {
    if (button.getAttribute("popovertargetaction") === "hide") button.addEventListener("click", () => dialog.close());
    else button.dataset.opens = dialog.id;
    button.removeAttribute("popovertarget");
  }
}

// Openers of dialogs and popovers.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) {
    const target = document.getElementById(opener.dataset.opens);
    if (!target) return;
    event.preventDefault();
    if (target.popover) target.showPopover();
    else if (!target.open) target.showModal();
  }
  for (const menu of all("details.menu[open]")) if (!menu.contains(event.target) || opener) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of all("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// The theme changes at once; the server keeps it.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!("themeForm" in form.dataset) || !event.submitter) return;
  event.preventDefault();
  const theme = event.submitter.value;
  const body = new URLSearchParams(new FormData(form, event.submitter));
  const answer = await fetch(form.action, { method: "POST", body, redirect: "manual" });
  if (answer.type !== "opaqueredirect") return form.submit();
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  for (const button of all("[data-theme-form] button")) {
    if (button.value === theme) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
});

// The tab of the part that is in sight.
const markTab = () => {
  const tabs = all(".tabs a[href^='#']");
  const parts = tabs.map((tab) => document.getElementById(tab.hash.slice(1))).filter(Boolean);
  const seen = parts.filter((part) => part.getBoundingClientRect().top < innerHeight * 0.4).pop() ?? parts[0];
  for (const tab of tabs) {
    if (seen && tab.hash === `#${seen.id}`) tab.setAttribute("aria-current", "true");
    else tab.removeAttribute("aria-current");
  }
};
if (document.querySelector(".tabs")) {
  addEventListener("scroll", markTab, { passive: true });
  document.addEventListener("cockpit:refreshed", markTab);
  markTab();
}

keys();
live();
