// Elements, made without HTML: what is put in as text stays text.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export function announce(text) {
  const status = document.getElementById("status");
  status.textContent = "";
  // a screen reader speaks when something changes, also if it is the same text again
  requestAnimationFrame(() => { status.textContent = text; });
}

// Copies also where the clipboard's API is missing, as it is on plain http. Resolves to whether it did.
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const focused = document.activeElement;
    const area = element("textarea", { class: "hidden", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return copied;
  }
}

export function copyButton(read, label = "Copy", classes = "quiet small-button") {
  const button = element("button", { type: "button", class: classes }, label);
  button.addEventListener("click", async () => {
    const said = await copyText(read()) ? "Copied" : "Not copied";
    button.textContent = said;
    announce(said);
    setTimeout(() => { button.textContent = label; }, 1600);
  });
  return button;
}
