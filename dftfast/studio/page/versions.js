// The versions of a draft.

import { ask } from "/page/api.js";

const at = (id) => document.getElementById(id);

// take(text): put an old version in place of the text; text(): what there is now
export function watchVersions(drafts, take, text) {
  const show = async (rows) => {
    at("versions-list").replaceChildren(...rows.toReversed().map((row) => {
      const li = document.createElement("li");
      const what = document.createElement("p");
      const words = row.text.split(/\s+/).filter(Boolean).length;
      what.textContent = `${new Date(1000 * row.at).toLocaleString()} · ${row.why} · ${words} words`;
      const start = document.createElement("blockquote");
      start.textContent = row.text.slice(0, 400);
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Take back";
      button.addEventListener("click", () => {
        take(row.text);
        at("versions").close();
      });
      li.append(what, start, button);
      return li;
    }));
    if (!rows.length) at("versions-list").textContent = "None yet. A version is kept before a model writes, and whenever you say so.";
  };
  at("versions-button").addEventListener("click", async () => {
    await show(await ask("GET", `drafts/${drafts.id}/versions`));
    at("versions").showModal();
  });
  at("keep").addEventListener("click", async () => {
    await show(await ask("POST", `drafts/${drafts.id}/versions`, { text: text() }));
  });
}
