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

// Copies also where the clipboard's API is missing, as it is on plain http.
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = element("textarea", { class: "hidden", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

export function copyButton(read, label = "Copy", classes = "quiet small-button") {
  const button = element("button", { type: "button", class: classes }, label);
  button.addEventListener("click", async () => {
    await copyText(read());
    button.textContent = "Copied";
    announce("Copied");
    setTimeout(() => { button.textContent = label; }, 1600);
  });
  return button;
}
