// The list of requests as it grows: asks for new rows while the page is seen, and can be paused.

import { announce } from "./dom.js";

const PAUSE_MS = 2000, PAUSE_MAX_MS = 30000, ROWS_MAX = 200;
const button = document.querySelector("[data-live]");
const words = button.querySelector("[data-live-text]");
const body = document.querySelector("[data-rows]");
let after = button.dataset.after;
let timer = 0;
let failures = 0;
let turn = 0;

button.hidden = false;
button.addEventListener("click", () => {
  const live = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(live));
  failures = 0;
  clearTimeout(timer);
  turn += 1;
  say("Live");
  announce(live ? "New requests appear as they end" : "Paused");
  if (live) look(turn);
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden || button.getAttribute("aria-pressed") !== "true") return;
  clearTimeout(timer);
  turn += 1;
  look(turn);
});

function say(text) { words.textContent = text; }

function end() {
  button.setAttribute("aria-pressed", "false");
  say("Signed out");
  announce("Signed out");
}

async function look(mine) {
  if (document.hidden) return;
  try {
    const response = await fetch(`${button.dataset.from}&after=${after}`, { headers: { accept: "text/html" }, redirect: "manual" });
    if (mine !== turn) return;
    if (response.type === "opaqueredirect") return end(); // to the sign-in
    if (!response.ok) throw new Error(String(response.status));
    const fresh = rows(await response.text());
    if (mine !== turn) return;
    after = response.headers.get("x-newest") ?? after;
    const count = show(fresh);
    if (count) announce(`${count} new`);
    failures = 0;
    say("Live");
  } catch {
    if (mine !== turn) return;
    failures += 1;
    say("Lost, trying again");
  }
  timer = setTimeout(() => look(mine), Math.min(PAUSE_MS * 2 ** failures, PAUSE_MAX_MS));
}

// A document that is only parsed runs nothing; its rows are taken over as they are.
function rows(html) {
  const parsed = new DOMParser().parseFromString(`<table><tbody>${html}</tbody></table>`, "text/html");
  return [...parsed.querySelectorAll("tr[data-at]")];
}

function show(fresh) {
  let count = 0;
  const oldest = body.rows.length >= 50 ? Number(body.lastElementChild.dataset.at) : 0;
  for (const row of fresh.reverse()) {
    const at = Number(row.dataset.at);
    if (document.getElementById(row.id) || at < oldest) continue;
    row.classList.add("new");
    const below = [...body.rows].find((other) => Number(other.dataset.at) <= at) ?? null;
    body.insertBefore(document.adoptNode(row), below);
    count += 1;
  }
  while (body.rows.length > ROWS_MAX) body.lastElementChild.remove();
  if (count) document.querySelector("[data-empty]")?.remove();
  return count;
}
