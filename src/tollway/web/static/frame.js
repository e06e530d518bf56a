// What every page has: copy buttons, the choice of light or dark, remembered tabs, search while one types.

import { copyButton, element } from "./dom.js";

for (const figure of document.querySelectorAll("figure[data-copy]")) {
  figure.querySelector("figcaption").append(copyButton(() => figure.querySelector("code").textContent));
}
for (const place of document.querySelectorAll("[data-copy-text]")) place.append(copyButton(() => place.dataset.copyText));

const toggle = document.querySelector("[data-theme-toggle]");
toggle.hidden = false;
toggle.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  document.cookie = `theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=lax`;
});

// On a phone not all places fit: the one where we are is in sight.
const here = document.querySelector(".main-nav [aria-current]");
if (here) here.parentElement.scrollLeft = here.offsetLeft - here.parentElement.offsetLeft - here.parentElement.clientWidth / 2 + here.offsetWidth / 2;

// The language that was chosen once is chosen everywhere.
const tabs = [...document.querySelectorAll("[data-tabs]")];
function choose(language) {
  for (const set of tabs) {
    const input = set.querySelector(`:scope > input[value="${CSS.escape(language)}"]`);
    if (input) input.checked = true;
  }
}
try { choose(localStorage.getItem("language") ?? ""); } catch { /* storage may be off */ }
for (const set of tabs) {
  set.addEventListener("change", (event) => {
    choose(event.target.value);
    try { localStorage.setItem("language", event.target.value); } catch { /* as above */ }
  });
}

// The list of pages is open beside the text, and folded above it.
const fold = document.querySelector("[data-fold]");
if (fold) fold.open = matchMedia("(min-width: 56.01rem)").matches;

// Escape closes what lies over the page, and the focus goes back to what opened it; a click beside it closes it, too.
const OVERLAYS = ".me[open], .ask[open]";
document.addEventListener("keydown", (event) => {
  const overlay = event.key === "Escape" ? event.target.closest(OVERLAYS) : null;
  if (!overlay) return;
  overlay.open = false;
  overlay.querySelector("summary").focus();
});
document.addEventListener("click", (event) => {
  for (const overlay of document.querySelectorAll(OVERLAYS)) if (!overlay.contains(event.target)) overlay.open = false;
});

// A form is sent once, however often its button is pressed: a key that the first answer shows would be lost with the second.
const SENT_MS = 10000;
document.addEventListener("submit", (event) => {
  const sent = event.target;
  if (sent.method !== "post") return;
  if (sent.dataset.sent) return event.preventDefault();
  sent.dataset.sent = "yes";
  setTimeout(() => { delete sent.dataset.sent; }, SENT_MS); // it may have been stopped
});
addEventListener("pageshow", () => { for (const sent of document.querySelectorAll("[data-sent]")) delete sent.dataset.sent; });

const form = document.querySelector("[data-search]");
const field = form.querySelector("input");
let list = null;
let asked = 0;

function close() {
  list?.remove();
  list = null;
}

async function look() {
  const query = field.value.trim();
  const turn = ++asked;
  if (query.length < 2) return close();
  const response = await fetch(`/search?format=json&q=${encodeURIComponent(query)}`).catch(() => null);
  if (turn !== asked || !response?.ok) return;
  const hits = await response.json();
  close();
  const rows = hits.slice(0, 8).map((hit) => element("li", {}, element("a", { href: hit.path }, hit.title, element("small", {}, hit.page))));
  list = element("ul", { class: "found", "aria-label": "Results" }, ...(rows.length ? rows : [element("li", {}, element("p", {}, "Nothing found"))]));
  form.append(list);
}

let timer = 0;
field.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(look, 120);
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Escape") { close(); field.focus(); }
  if (!list || !["ArrowDown", "ArrowUp"].includes(event.key)) return;
  const links = [field, ...list.querySelectorAll("a")];
  const next = links.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
  links[(next + links.length) % links.length].focus();
  event.preventDefault();
});
document.addEventListener("click", (event) => { if (!form.contains(event.target)) close(); });
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, textarea, select")) return;
  event.preventDefault();
  field.focus();
});
