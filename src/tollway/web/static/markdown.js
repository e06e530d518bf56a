// What a model writes, as elements. Text becomes text nodes and nothing is ever parsed as HTML; a link is made only for http(s).

import { element } from "./dom.js";

const INLINE = /(`+)([^]*?[^`])\1(?!`)|\*\*([^\s*](?:[^*]|\*(?!\*))*)\*\*|\*([^\s*][^*]*)\*|\[([^\]\n]+)\]\((https?:\/\/[^\s)]+)\)/g;
const DEPTH_MAX = 6;

function inline(text, depth = 0) {
  const nodes = [];
  let at = 0;
  for (const found of depth < DEPTH_MAX ? text.matchAll(INLINE) : []) {
    nodes.push(text.slice(at, found.index));
    at = found.index + found[0].length;
    const [, , code, strong, soft, label, url] = found;
    if (code !== undefined) nodes.push(element("code", {}, code));
    else if (strong !== undefined) nodes.push(element("strong", {}, ...inline(strong, depth + 1)));
    else if (soft !== undefined) nodes.push(element("em", {}, ...inline(soft, depth + 1)));
    else nodes.push(element("a", { href: url, rel: "noopener noreferrer nofollow", target: "_blank" }, ...inline(label, depth + 1)));
  }
  nodes.push(text.slice(at));
  return nodes.filter((node) => node !== "");
}

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
}

function table(lines) {
  const [head, , ...rows] = lines.map(cells);
  return element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Table" }, element("table", {},
    element("thead", {}, element("tr", {}, ...head.map((cell) => element("th", {}, ...inline(cell))))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, ...inline(cell))))))));
}

function list(lines, tag) {
  const items = [];
  const first = Number(lines[0].match(/^\s*(\d{1,9})/)?.[1] ?? 1);
  for (const line of lines) {
    if (line.trim() === "") continue;
    const start = line.match(/^\s*(?:[-*+]|\d{1,9}[.)])\s+(.*)$/);
    if (start) items.push(start[1]);
    else items[items.length - 1] += "\n" + line.trim();
  }
  return element(tag, tag === "ol" && first !== 1 ? { start: first } : {}, ...items.map((item) => element("li", {}, ...inline(item))));
}

function starts(line) {
  if (/^\s*```/.test(line)) return "fence";
  if (/^#{1,6}\s/.test(line)) return "heading";
  if (/^\s*[-*+]\s+/.test(line) && !/^\s*([-*])(\s*\1){2,}\s*$/.test(line)) return "ul";
  if (/^\s*\d{1,9}[.)]\s+/.test(line)) return "ol";
  if (/^\s*>/.test(line)) return "quote";
  if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) return "rule";
  return line.trim() === "" ? "blank" : "text";
}

// The elements of a text. `nested` bounds quotes in quotes.
export function markdown(text, nested = 0) {
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  const nodes = [];
  let at = 0;
  const take = (fits) => {
    const from = at++;
    while (at < lines.length && fits(lines[at])) at++;
    return lines.slice(from, at);
  };
  while (at < lines.length) {
    const kind = starts(lines[at]);
    if (kind === "blank") at++;
    else if (kind === "rule") { at++; nodes.push(element("hr")); }
    else if (kind === "fence") {
      const block = take((line) => !/^\s*```\s*$/.test(line));
      at++; // the closing fence, when it came
      nodes.push(element("pre", { tabindex: "0" }, element("code", {}, block.slice(1).join("\n"))));
    } else if (kind === "heading") {
      const [, marks, title] = lines[at++].match(/^(#{1,6})\s+(.*)$/) ?? [null, "#", lines[at - 1]];
      // below the page's own headings
      nodes.push(element(`h${Math.min(6, marks.length + 2)}`, {}, ...inline(title)));
    } else if (kind === "ul" || kind === "ol") {
      // blank lines between the items of a list do not end it
      const goesOn = (line) => starts(line) === kind || (starts(line) === "text" && /^\s+/.test(line));
      nodes.push(list(take((line) => goesOn(line) || (starts(line) === "blank" && goesOn(lines[at + 1] ?? ""))), kind));
    } else if (kind === "quote" && nested < DEPTH_MAX) {
      const block = take((line) => starts(line) === "quote").map((line) => line.replace(/^\s*>\s?/, ""));
      nodes.push(element("blockquote", {}, ...markdown(block.join("\n"), nested + 1)));
    } else if (lines[at].includes("|") && /^[\s:|-]+$/.test(lines[at + 1] ?? "") && lines[at + 1].includes("-")) {
      nodes.push(table(take((line) => line.includes("|"))));
    } else {
      const block = take((line) => starts(line) === "text");
      nodes.push(element("p", {}, ...block.flatMap((line, n) => (n ? [element("br"), ...inline(line)] : inline(line)))));
    }
  }
  return nodes;
}
