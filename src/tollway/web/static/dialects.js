// One request as code. The same templates, and to the letter the same results, as `dialects.py` on the server.

const EXTENSIONS = ["top_k", "min_p", "repetition_penalty"];
const INLINE_LENGTH_MAX = 60;

export function write(template, base, body, key) {
  const kept = body.stream ? "stream" : "whole";
  const code = template.replace(/\{\{(stream|whole)\}\}([^]*?)\{\{\/\1\}\}/g, (_, name, part) => (name === kept ? part : ""));
  const json = JSON.stringify(body, null, 2);
  const values = {
    base,
    key,
    python: indented(python(body), 4),
    arguments: Object.entries(withExtras(body)).map(([name, value]) => `    ${name}=${indented(python(value), 4)},`).join("\n"),
    shell: json.replaceAll("'", "'\\''"),
  };
  const place = /\{\{(base|key|python|arguments|shell|json)(?::(\d))?\}\}/g;
  return code.replace(place, (_, name, spaces) => (name === "json" ? indented(json, Number(spaces)) : values[name]));
}

function withExtras(body) {
  const known = Object.entries(body).filter(([name]) => !EXTENSIONS.includes(name));
  const extra = Object.entries(body).filter(([name]) => EXTENSIONS.includes(name));
  return Object.fromEntries(extra.length ? [...known, ["extra_body", Object.fromEntries(extra)]] : known);
}

function indented(text, spaces) {
  return text.replaceAll("\n", "\n" + " ".repeat(spaces));
}

function python(value) {
  if (Array.isArray(value)) return block("[", value.map(python), "]");
  if (value === null) return "None";
  if (typeof value === "object") return block("{", Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${python(item)}`), "}");
  if (typeof value === "boolean") return value ? "True" : "False";
  return JSON.stringify(value);
}

function block(start, items, end) {
  const inline = start + items.join(", ") + end;
  // code points, as Python counts them
  if (!inline.includes("\n") && [...inline].length <= INLINE_LENGTH_MAX) return inline;
  return [start, ...items.map((item) => `    ${indented(item, 4)},`), end].join("\n");
}
