// "Try it now": one real call, and how long it took. With the key that was just made, with one that is typed in here and put into
// the code, or with the session.

import { ask } from "./completion.js";

const KEY = /^[\w-]+$/;
const place = document.querySelector("[data-first-call]");
const button = place.querySelector("button");
const result = place.querySelector("[data-result]");
const field = place.querySelector("input");
const inCode = [];

place.hidden = false;
if (field) {
  const walker = document.createTreeWalker(document.querySelector("[data-tabs]"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.data.includes(field.dataset.placeholder)) inCode.push([node, node.data]);
  }
  field.addEventListener("input", write);
  field.addEventListener("keydown", (event) => { if (event.key === "Enter") button.click(); });
  write(); // a browser that goes back brings the text along
}

// Only what looks like a key goes into code that somebody will run.
function write() {
  const key = field.value.trim();
  const shown = KEY.test(key) ? key : field.dataset.placeholder;
  for (const [node, text] of inCode) node.data = text.replaceAll(field.dataset.placeholder, shown);
}

// Nothing for what can be no key: a browser would refuse to send it.
function proof() {
  const key = place.dataset.secret ?? field.value.trim();
  if (key) return KEY.test(key) ? { "Authorization": `Bearer ${key}` } : null;
  return place.dataset.csrf ? { "X-CSRF-Token": place.dataset.csrf } : null;
}

button.addEventListener("click", async () => {
  if (button.ariaDisabled === "true") return;
  const headers = proof();
  if (!headers) {
    result.textContent = "Put your API key in first.";
    return field.focus();
  }
  button.ariaDisabled = "true"; // one that is disabled would lose the focus
  result.textContent = "Asking…";
  try {
    let last;
    await ask(JSON.parse(place.dataset.body), headers, (news) => { last = news; });
    const { at, completion } = last;
    const cost = completion.meta?.usage?.usd_spent;
    result.textContent = `It answered in ${at.toLocaleString("en")} ms${cost === undefined ? "" : `, for $${cost}`}: “${completion.choices[0].message.content}”`;
  } catch (error) {
    result.textContent = `It did not work: ${error.message}`;
  } finally {
    button.ariaDisabled = null;
  }
});
