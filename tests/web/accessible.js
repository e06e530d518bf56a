// What `accessible.py` looks at inside of a page. Each function returns what is wrong, in words; nothing is right.
(() => {
  const STOPS = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
  const brief = (e) => e.outerHTML.replace(/\s+/g, " ").slice(0, 120);
  const named = (e) => e.getAttribute("aria-label") ?? document.getElementById(e.getAttribute("aria-labelledby"))?.textContent.trim() ?? "";
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

  function luminance(color) {
    const [r, g, b] = color.match(/[\d.]+/g).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  function contrast(...colors) {
    const [low, high] = colors.map(luminance).sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  }

  // An outline on it, or on the label of a hidden one, of 2 pixels or more, and 3:1 to what lies behind.
  function unseen(focused) {
    const shown = focused.matches("input.hidden") ? focused.labels[0] : focused;
    const style = getComputedStyle(shown);
    if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) return ["no outline: " + brief(focused)];
    let behind = parseFloat(style.outlineOffset) < 0 ? shown : shown.parentElement;
    while (behind.parentElement && /, 0\)$|transparent/.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
    const found = contrast(style.outlineColor, getComputedStyle(behind).backgroundColor);
    if (found < 3) return [`an outline of contrast ${found.toFixed(2)}: ${brief(focused)}`];
    const box = shown.getBoundingClientRect();
    const outside = box.bottom <= 0 || box.top >= innerHeight || box.right <= 0 || box.left >= innerWidth;
    return outside ? ["out of sight: " + brief(focused)] : [];
  }

  function focusUnseen() {
    return unseen(document.activeElement);
  }

  function unseenStops() {
    return all(STOPS).flatMap((stop) => {
      if (stop.disabled || stop.tabIndex < 0 || !stop.checkVisibility()) return [];
      stop.focus();
      if (document.activeElement !== stop) return [];
      stop.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
      return unseen(stop);
    });
  }

  function disorder() {
    const told = [];
    const one = (what, selector) => { if (all(selector).length !== 1) told.push(`${all(selector).length} ${what}`); };
    one("banners", "body > header");
    one("mains", "main");
    one("footers", "body > footer");
    one("first headings", "h1");
    one("places for announcements", "#status[aria-live=polite]");
    if (!document.documentElement.lang) told.push("no language");
    if (!/\S · Tollway$/.test(document.title)) told.push("the title " + document.title);
    if (document.querySelector("body a").getAttribute("href") !== "#main") told.push("the first link skips nothing");
    let level = 0;
    for (const heading of all("h1, h2, h3, h4, h5, h6", document.querySelector("main"))) {
      const next = Number(heading.tagName[1]);
      if (next > level + 1) told.push(`an h${next} below an h${level}: ${brief(heading)}`);
      level = next;
    }
    for (const kind of ["nav", "section, [role=region]", "aside", "[role=search]"]) {
      const names = all(kind).filter((e) => e.checkVisibility()).map(named);
      for (const twice of new Set(names.filter((name, n) => names.indexOf(name) !== n))) told.push(`two of ${kind} with the name "${twice}"`);
    }
    for (const field of all("input:not([type=hidden], [aria-hidden]), select, textarea")) {
      if (!field.labels?.length && !named(field)) told.push("no label: " + brief(field));
    }
    for (const image of all("svg, img")) {
      if (!image.closest("[aria-hidden=true]") && !image.alt && !named(image)) told.push("no words for " + brief(image));
    }
    for (const chart of all("figure.chart")) {
      if (!chart.closest("section").querySelector(".figures-table table, .figures-table .muted")) told.push("no table for the chart " + named(chart));
    }
    for (const table of all("table")) {
      if (!table.querySelector("th")) told.push("no headers: " + brief(table));
      for (const head of all("th:not([scope])", table)) if (!head.closest(".prose, .answer")) told.push("no scope: " + brief(head));
    }
    for (const odd of all("[tabindex]")) if (odd.tabIndex > 0) told.push("an order of its own: " + brief(odd));
    return told;
  }

  function foreignParts() {
    const parts = "script:not([src^='/static/']), img:not(.thumbs img), iframe, object, embed, base, meta[http-equiv], style, [style]";
    const handling = (e) => [...e.attributes].some((a) => /^on/i.test(a.name));
    return [
      ...all(parts),
      ...all("*").filter(handling),
      ...[...document.links].filter((link) => !/^https?:$/.test(link.protocol)),
    ].map(brief);
  }

  return { focusUnseen, unseenStops, disorder, foreignParts };
})()
