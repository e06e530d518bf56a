// "Try it now": one real call with the key that was just made, and how long it took.

const place = document.querySelector("[data-first-call]");
const button = place.querySelector("button");
const result = place.querySelector("[data-result]");

place.hidden = false;
button.addEventListener("click", async () => {
  button.disabled = true;
  result.textContent = "Asking…";
  const began = performance.now();
  try {
    const response = await fetch("/v1/chat/completions", {
      method: "POST",
      headers: { "Authorization": `Bearer ${place.dataset.secret}`, "Content-Type": "application/json" },
      body: place.dataset.body,
    });
    const answer = await response.json();
    const took = Math.round(performance.now() - began).toLocaleString("en");
    if (!response.ok) throw new Error(answer.message);
    const cost = answer.meta?.usage?.usd_spent;
    result.textContent = `It answered in ${took} ms${cost === undefined ? "" : `, for $${cost}`}: “${answer.choices[0].message.content}”`;
  } catch (error) {
    result.textContent = `It did not work: ${error.message}`;
  } finally {
    button.disabled = false;
  }
});
