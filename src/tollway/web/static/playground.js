// The playground: what is typed becomes a request, and the answer is shown while it comes.

import { announce, copyButton, element } from "./dom.js";
import { ask } from "./completion.js";
import { write } from "./dialects.js";
import { markdown } from "./markdown.js";

const form = document.querySelector("[data-playground]");
const data = JSON.parse(form?.dataset.playground ?? "null");
const find = (name, place = form) => place.querySelector(`[data-${name}]`);
const all = (name, place = form) => [...place.querySelectorAll(`[data-${name}]`)];
const STORED = "playground";
const RENDER_MS = 80;
const RAW_LENGTH_MAX = 400_000;

// --- messages ------------------------------------------------------------------------------------------------------------

let numbered = 0;

function addMessage(role = "user", text = "", images = []) {
  const id = `message-${++numbered}`;
  const choice = element("select", { "aria-label": "Role of the message" },
    ...["user", "assistant"].map((name) => element("option", { value: name, selected: name === role }, name)));
  const area = element("textarea", { id, rows: "3", "aria-label": "Text of the message", placeholder: "Say something" });
  area.value = text;
  const shown = element("div", { class: "thumbs" });
  const file = element("input", { type: "file", accept: "image/png,image/jpeg,image/gif,image/webp", multiple: true, class: "hidden", tabindex: "-1", "aria-hidden": "true" });
  const attach = element("button", { type: "button", class: "quiet small-button", onclick: () => file.click() }, "Image");
  const remove = element("button", { type: "button", class: "quiet small-button", onclick: () => { leave(row); changed(); } }, "Remove");
  const row = element("div", { class: "turn-row", "data-message": true }, element("div", { class: "turn-side" }, choice, attach, remove, file), element("div", { class: "turn-text" }, area, shown));
  row.images = images;
  const drawImages = () => shown.replaceChildren(...row.images.map((url, n) =>
    element("button", { type: "button", "aria-label": `Remove image ${n + 1}`, onclick: () => { row.images.splice(n, 1); drawImages(); attach.focus(); changed(); } }, element("img", { src: url, alt: `Image ${n + 1}` }))));
  file.addEventListener("change", async () => {
    row.images.push(...await Promise.all([...file.files].map(asDataUrl)));
    file.value = "";
    drawImages();
    changed();
  });
  drawImages();
  find("messages").append(row);
  return area;
}

// A message goes; the focus is on the one beside it then, and not nowhere.
function leave(row) {
  const beside = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  (beside?.querySelector("textarea") ?? find("add")).focus();
}

function asDataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

function messages() {
  const list = [];
  const system = form.querySelector("#system").value;
  if (system.trim()) list.push({ role: "system", content: system });
  for (const row of all("message")) {
    const text = row.querySelector("textarea").value;
    const parts = row.images.map((url) => ({ type: "image_url", image_url: { url } }));
    if (!text && !parts.length) continue;
    list.push({ role: row.querySelector("select").value, content: parts.length ? [...(text ? [{ type: "text", text }] : []), ...parts] : text });
  }
  return list;
}

// --- parameters ----------------------------------------------------------------------------------------------------------

// What is typed, as the API takes it. Throws an Error that names the parameter.
function valueOf(input) {
  const { param, kind } = input.dataset;
  const text = input.value.trim();
  if (kind === "boolean") return text === "true";
  if (kind === "number" || kind === "integer") {
    if (!input.checkValidity()) throw new Error(`${param}: ${input.validationMessage}`);
    return Number(text);
  }
  if (!kind.startsWith("json")) return input.value;
  if (kind === "json or text" && !/^[[{"]/.test(text)) return input.value;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${param} is no JSON: ${error.message}`);
  }
}

function request(model) {
  const body = { model, messages: messages() };
  for (const input of all("param")) {
    const empty = input.value.trim() === "" && !input.validity.badInput;
    input.removeAttribute("aria-invalid");
    if (empty) continue;
    try {
      body[input.dataset.param] = valueOf(input);
    } catch (error) {
      input.setAttribute("aria-invalid", "true");
      throw error;
    }
  }
  if (find("stream").checked) Object.assign(body, { stream: true, stream_options: { include_usage: true } });
  return body;
}

// --- answers -------------------------------------------------------------------------------------------------------------

function pane(place) {
  const parts = Object.fromEntries(["model", "answer", "first", "speed", "tokens", "cost", "ended", "stood-in", "answered-by", "pane-actions", "raw-request", "raw-response"].map((name) => [name, find(name, place)]));
  let text = "";
  find("copy-place", place).append(copyButton(() => text, "Copy the text"));
  find("go-on", place).addEventListener("click", () => {
    addMessage("assistant", text);
    addMessage().focus();
    changed();
  });

  async function run(body, signal) {
    const choices = new Map();
    let first = null, finish = null, usage = null, meta = null, pieces = 0, raw = "", due = false, over = false, last = 0;
    text = "";
    parts.answer.setAttribute("aria-busy", "true");
    parts["answered-by"].hidden = true;
    parts["pane-actions"].hidden = true;
    for (const name of ["first", "speed", "tokens", "cost", "ended"]) parts[name].textContent = "–";
    parts.ended.textContent = "running";
    parts["raw-request"].textContent = `POST ${data.base}/chat/completions\n\n${JSON.stringify(body, null, 2)}`;
    parts["raw-response"].textContent = "";
    parts.answer.replaceChildren();

    const draw = () => {
      due = false;
      const stuck = parts.answer.scrollTop + parts.answer.clientHeight >= parts.answer.scrollHeight - 40;
      const inOrder = [...choices].sort(([one], [other]) => one - other);
      text = inOrder.map(([, choice]) => choice.content).join("\n\n---\n\n");
      parts.answer.replaceChildren(...inOrder.flatMap(([index, choice]) => drawn(choice, index, choices.size)));
      if (stuck) parts.answer.scrollTop = parts.answer.scrollHeight;
      parts["raw-response"].textContent = raw;
      meterNow();
    };
    const later = () => { if (!due) { due = true; setTimeout(() => { if (!over) draw(); }, RENDER_MS); } };
    const meterNow = () => {
      const tokens = usage?.completion_tokens ?? pieces;
      const seconds = first === null ? 0 : (last - first) / 1000;
      if (first !== null) parts.first.textContent = `${first.toLocaleString("en")} ms`;
      if (seconds > 0.05 && tokens > 1) parts.speed.textContent = `${((tokens - 1) / seconds).toFixed(1)} tokens/s`;
      if (usage) parts.tokens.textContent = `${usage.prompt_tokens.toLocaleString("en")} + ${usage.completion_tokens.toLocaleString("en")}`;
      else if (pieces) parts.tokens.textContent = `${pieces.toLocaleString("en")} so far`;
      if (meta?.usage) parts.cost.textContent = `$${money(meta.usage.usd_spent)}`;
    };
    const take = (index, delta) => {
      const choice = choices.get(index) ?? { content: "", reasoning: "", calls: [] };
      choices.set(index, choice);
      choice.content += delta.content ?? delta.refusal ?? "";
      choice.reasoning += delta.reasoning_content ?? "";
      for (const call of delta.tool_calls ?? []) {
        const known = choice.calls[call.index ?? choice.calls.length] ??= { name: "", arguments: "" };
        known.name += call.function?.name ?? "";
        known.arguments += call.function?.arguments ?? "";
      }
    };

    const tell = (news) => {
      last = news.at;
      if (news.headers) raw += `+${news.at} ms  HTTP ${news.status}\n${news.headers.map(([name, value]) => `${name}: ${value}`).join("\n")}\n\n`;
      if (news.frame !== undefined && raw.length < RAW_LENGTH_MAX) raw += `+${news.at} ms  ${news.frame}\n`;
      const answer = news.chunk ?? news.completion;
      if (answer) {
        if (answer.model && answer.model !== body.model) note(parts["answered-by"], "Answered by ", answer.model, ", in place of ", body.model);
        usage = answer.usage ?? usage;
        meta = answer.meta ?? meta;
        for (const choice of answer.choices) {
          const delta = choice.delta ?? choice.message;
          if (delta.content || delta.reasoning_content || delta.tool_calls?.length) {
            first ??= news.at;
            pieces += 1;
          }
          finish = choice.finish_reason ?? finish;
          take(choice.index, delta);
        }
      }
      later();
    };

    let end = "error";
    try {
      end = await ask(body, { "X-CSRF-Token": data.csrf }, tell, signal);
      over = true; // a drawing that is still due would wipe out what is added to the last one
      draw();
      parts.ended.textContent = { done: finish ?? "done", stopped: "stopped", broken: "connection lost" }[end];
      if (end === "broken") parts.answer.append(element("p", { class: "problem", role: "alert" }, "The connection broke before the end. What came is kept."));
    } catch (error) {
      over = true;
      draw();
      parts.ended.textContent = "error";
      parts.answer.append(problem(error));
    } finally {
      parts["pane-actions"].hidden = !text;
      parts.answer.removeAttribute("aria-busy");
    }
    return end;
  }

  const chosen = () => {
    const answering = data.stand_ins[parts.model.value];
    if (answering) note(parts["stood-in"], "Answered by ", answering, " in its place: it has no upstream here");
    else parts["stood-in"].hidden = true;
  };

  return { place, run, chosen, model: () => parts.model.value, select: parts.model };
}

// A sentence in which every second part is an id. It is written once: a status that is written again is read out again.
function note(place, ...parts) {
  const said = `${parts.join("")}.`;
  if (place.textContent !== said) place.replaceChildren(...parts.map((part, n) => (n % 2 ? element("code", {}, part) : part)), ".");
  place.hidden = false;
}

function drawn(choice, index, count) {
  const nodes = [];
  if (count > 1) nodes.push(element("p", { class: "choice-number" }, `Choice ${index + 1}`));
  if (choice.reasoning) nodes.push(element("details", { class: "thought" }, element("summary", {}, "Thought"), element("p", {}, choice.reasoning)));
  nodes.push(...markdown(choice.content));
  for (const call of choice.calls) if (call) nodes.push(element("div", { class: "call" }, element("p", {}, "Calls ", element("code", {}, call.name)), element("pre", { tabindex: "0" }, pretty(call.arguments))));
  return nodes;
}

function problem(error) {
  const made = element("div", { class: "problem", role: "alert" }, element("p", {}, error.message));
  if (error.code === "session_over") made.append(element("p", {}, element("a", { href: "/signin?next=/playground" }, "Sign in"), " - what you typed is kept."));
  const facts = [error.code && `code ${error.code}`, error.param && `parameter ${error.param}`, error.requestId && `request ${error.requestId}`].filter(Boolean);
  if (facts.length) made.append(element("p", { class: "facts-line" }, facts.join(" · ")));
  return made;
}

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

function money(usd) {
  const text = usd.toFixed(9).replace(/0+$/, "");
  const [whole, cents] = text.split(".");
  return `${whole}.${(cents ?? "").padEnd(2, "0")}`;
}

// --- the form ------------------------------------------------------------------------------------------------------------

let panes = [];
let stop = null;
let running = Promise.resolve();

function shown() {
  return panes.filter((one) => !one.place.hidden);
}

function changed() {
  drawCode();
  for (const one of panes) one.chosen();
  try {
    keep(true);
  } catch {
    try { keep(false); } catch { /* storage is off */ }
  }
}

// Throws when the images are too large for the storage.
function keep(withImages) {
  const typed = Object.fromEntries(all("param").map((input) => [input.dataset.param, input.value]));
  const turns = all("message").map((row) => ({ role: row.querySelector("select").value, text: row.querySelector("textarea").value, images: withImages ? row.images : [] }));
  sessionStorage.setItem(STORED, JSON.stringify({ system: form.querySelector("#system").value, turns, typed, models: panes.map((one) => one.model()), compare: !panes[1].place.hidden }));
}

function drawCode() {
  const dialect = data.dialects.find((one) => one.id === find("dialect").value);
  try {
    find("code").textContent = write(dialect.code, data.base, request(panes[0].model()), data.key);
  } catch (error) {
    find("code").textContent = error.message;
  }
}

function restore() {
  let kept = null;
  try { kept = JSON.parse(sessionStorage.getItem(STORED)); } catch { /* nothing was kept */ }
  for (const turn of kept?.turns?.length ? kept.turns : [{ role: "user", text: "" }]) addMessage(turn.role, turn.text, turn.images);
  if (!kept) return;
  form.querySelector("#system").value = kept.system;
  for (const input of all("param")) input.value = kept.typed[input.dataset.param] ?? "";
  const asked = new URLSearchParams(location.search).get("model");
  panes.forEach((one, n) => { if (data.models.includes(kept.models[n]) && !(n === 0 && asked)) one.select.value = kept.models[n]; });
  compare(kept.compare);
}

function compare(on) {
  panes[1].place.hidden = !on;
  find("panes").classList.toggle("two", on);
  find("compare").setAttribute("aria-pressed", String(on));
}

async function runAll() {
  const complain = find("problem");
  complain.hidden = true;
  const asked = shown();
  let bodies;
  try {
    bodies = asked.map((one) => request(one.model()));
    if (!bodies[0].messages.some((message) => message.role !== "system")) throw new Error("Write a message first.");
  } catch (error) {
    complain.textContent = error.message;
    complain.hidden = false;
    form.querySelector("[aria-invalid]")?.closest("details").setAttribute("open", "");
    (form.querySelector("[aria-invalid]") ?? form.querySelector("[data-message] textarea"))?.focus();
    return;
  }
  stop?.abort();
  const mine = stop = new AbortController();
  find("stop").hidden = false;
  find("run").ariaDisabled = "true"; // one that is disabled would lose the focus
  announce("Answering");
  await running; // the run before says how it ended, in the same places
  if (stop !== mine) return;
  running = Promise.all(asked.map((one, n) => one.run(bodies[n], mine.signal)));
  const ends = await running;
  if (stop === mine) {
    if (document.activeElement === find("stop")) find("run").focus();
    find("stop").hidden = true;
    find("run").ariaDisabled = null;
    // what went wrong is an alert, which speaks for itself
    if (ends.includes("stopped")) announce("Stopped. What came is kept.");
    else if (ends.every((end) => end === "done")) announce("The answer is complete");
  }
}

if (form) {
  panes = all("pane").map(pane);
  find("copy-code").append(copyButton(() => find("code").textContent, "Copy", "plain small-button"));
  restore();
  form.addEventListener("input", changed);
  form.addEventListener("change", changed);
  form.addEventListener("submit", (event) => { event.preventDefault(); if (find("stop").hidden) runAll(); });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); runAll(); }
    if (event.key === "Escape") stop?.abort();
  });
  find("stop").addEventListener("click", () => stop?.abort());
  find("add").addEventListener("click", () => { addMessage().focus(); changed(); });
  find("clear").addEventListener("click", () => {
    find("messages").replaceChildren();
    form.querySelector("#system").value = "";
    addMessage().focus();
    changed();
  });
  find("compare").addEventListener("click", () => { compare(panes[1].place.hidden); changed(); });
  for (const button of all("example")) button.addEventListener("click", () => {
    const area = document.getElementById(button.dataset.for);
    area.value = button.dataset.example;
    area.rows = 10;
    changed();
  });
  changed();
}
