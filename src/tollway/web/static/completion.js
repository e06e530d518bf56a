// One request to the public endpoint; what comes back is told while it comes.

// `proof`: the headers that say who asks, those of a key or of the session. Calls `tell` with {headers}, {frame}, {chunk},
// {completion}. Resolves to how it ended: "done", "stopped" by `signal`, or "broken". Rejects with an Error that has the server's
// words; `code` and `requestId` when there are any.
export async function ask(body, proof, tell, signal) {
  const began = performance.now();
  const since = () => Math.round(performance.now() - began);
  try {
    const response = await fetch("/v1/chat/completions", {
      method: "POST",
      headers: { "Content-Type": "application/json", ...proof },
      body: JSON.stringify(body),
      signal,
    });
    tell({ at: since(), status: response.status, headers: [...response.headers] });
    if (!response.ok || !response.headers.get("content-type")?.startsWith("text/event-stream")) {
      const text = await response.text();
      tell({ at: since(), frame: text });
      const value = parsed(text);
      if (!response.ok) throw failure(value, response);
      tell({ at: since(), completion: value });
      return "done";
    }
    return await stream(response, since, tell);
  } catch (error) {
    if (signal?.aborted) return "stopped";
    if (error.fromServer) throw error;
    throw new Error("The server cannot be reached. Nothing was lost: try again.");
  }
}

async function stream(response, since, tell) {
  let rest = "";
  let done = false;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    let piece;
    try {
      piece = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      return "broken";
    }
    if (piece.done) return done ? "done" : "broken";
    const frames = (rest + piece.value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      tell({ at: since(), frame });
      if (!frame.startsWith("data: ")) continue;
      if (frame === "data: [DONE]") { done = true; continue; }
      const value = parsed(frame.slice(6));
      if (value?.error) throw failure({ message: value.error.message, error: value.error }, response);
      if (value) tell({ at: since(), chunk: value });
    }
  }
}

function parsed(text) {
  try { return JSON.parse(text); } catch { return null; }
}

function failure(value, response) {
  const error = new Error(value?.message ?? `The server answered ${response.status}.`);
  return Object.assign(error, {
    fromServer: true,
    code: value?.error?.code,
    param: value?.error?.param,
    requestId: response.headers.get("x-request-id"),
  });
}
