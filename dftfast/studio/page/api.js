// Requests to this page's own server, with the token that the page was given.

const token = document.querySelector("meta[name=page-token]").content;
const headers = { "content-type": "application/json", "x-page-token": token };

// status 0: nobody answered.
export class Failure extends Error {
  constructor(message, status, body) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

async function send(method, path, body, options) {
  let reply;
  try {
    reply = await fetch(`/api/${path}`, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body), ...options,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("The server does not answer.", 0);
  }
  if (!reply.ok) {
    const said = await reply.json().catch(() => null);
    throw new Failure(said?.error ?? `The server refused (${reply.status}).`, reply.status, said);
  }
  return reply;
}

export async function ask(method, path, body, options = {}) {
  return (await send(method, path, body, options)).json();
}

// The server's lines of JSON as they come; one that says what went wrong is thrown.
export async function* stream(path, body, signal) {
  const reply = await send("POST", path, body, { signal });
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (held + value).split("\n");
      held = lines.pop();
      for (const line of lines) {
        const event = JSON.parse(line);
        if (event.error) throw new Failure(event.error, 500);
        yield event;
      }
    }
  } catch (error) {
    if (error instanceof TypeError) throw new Failure("The server went away.", 0);
    throw error;
  } finally {
    reader.cancel().catch(() => {});
  }
}
