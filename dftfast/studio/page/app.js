// Puts the parts of the page together.

import { ask, Failure } from "/page/api.js";
import { briefOf, fillBrief, watchBrief } from "/page/brief.js";
import { Checks } from "/page/checks.js";
import { Drafts } from "/page/drafts.js";
import { Editor } from "/page/editor.js";
import { Reading, swapped } from "/page/friction.js";
import { watchVersions } from "/page/versions.js";
import { Writing } from "/page/writing.js";

const at = (id) => document.getElementById(id);
const MOST_WRITTEN = 400000; // characters that are kept of what a model wrote

const state = { written: "", edited: false, read: false, swappedWords: 0 };
const content = () => ({
  brief: briefOf(), text: editor.text,
  written: state.written, edited: state.edited, read: state.read,
});
const notice = (words, wrong = false) => {
  at("notice").textContent = words;
  at("notice").classList.toggle("wrong", wrong);
};

const editor = new Editor(at("text"), at("marks"), (kind) => {
  if (kind === "typed" && !state.edited) {
    state.edited = true;
    reading.end();
  }
  at("undo").disabled = !editor.past.length;
  at("redo").disabled = !editor.future.length;
  drafts.touched();
  checks.soon();
});
const checks = new Checks(editor, () => ({ text: editor.text, brief: briefOf() }));
const drafts = new Drafts(content, (kept) => {
  writing.stop();
  writing.choices.close();
  Object.assign(state, { written: kept.written, edited: kept.edited, read: kept.read });
  fillBrief(kept.brief);
  editor.reset(kept.text);
  at("undo").disabled = at("redo").disabled = true;
  notice("");
  if (unread()) reading.begin(editor.text);
  checks.now();
});
const reading = new Reading(at("end"), () => {
  state.read = true;
  drafts.touched();
});
const keep = async () => {
  if (editor.text.trim()) {
    await ask("POST", `drafts/${drafts.id}/versions`, { text: editor.text });
  }
};
// A model wrote this: a whole draft, which nobody has read yet, or a passage.
const wrote = (text, whole) => {
  state.written = `${state.written}\n${text}`.slice(-MOST_WRITTEN);
  if (whole) {
    state.edited = state.read = false;
    reading.begin(text);
  }
  drafts.touched();
};
const writing = new Writing({ editor, drafts, brief: briefOf, notice, keep, wrote });
const unread = () => Boolean(state.written.trim()) && !state.edited && !state.read;

function copied(text) {
  if (!unread() || !state.swappedWords) return text;
  const { text: out, swaps } = swapped(text, state.swappedWords);
  if (swaps.length) {
    const list = swaps.map((each) => `${each.from} → ${each.to}`).join(", ");
    notice(`Copied with words exchanged (${list}): read the draft to its end, or edit it, and copies are plain.`);
  }
  return out;
}

function watchCopies() {
  at("text").addEventListener("copy", (event) => {
    const { selectionStart, selectionEnd } = editor.area;
    if (selectionStart === selectionEnd || !unread()) return;
    event.preventDefault();
    event.clipboardData.setData("text/plain", copied(editor.text.slice(selectionStart, selectionEnd)));
  });
  // the command goes through the event, and is there without TLS, too
  at("copy").addEventListener("click", () => {
    const { selectionStart, selectionEnd } = editor.area;
    notice("Copied.");
    editor.area.focus({ preventScroll: true });
    editor.area.select();
    document.execCommand("copy");
    editor.area.setSelectionRange(selectionStart, selectionEnd);
  });
}

async function save(name, row) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${JSON.stringify(row)}\n`]));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const guarded = (work) => async (...given) => {
  try {
    await work(...given);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    notice(error.message, true);
  }
};

function watchButtons() {
  const press = (id, work) => at(id).addEventListener("click", guarded(work));
  press("write", () => writing.draft());
  press("three", () => writing.three());
  press("stop", () => writing.stop());
  press("sentence", () => writing.rewrite(false));
  press("paragraph", () => writing.rewrite(true));
  press("undo", () => editor.undo());
  press("redo", () => editor.redo());
  press("new", () => drafts.create());
  press("export", async () => {
    await drafts.flush();
    await save(`${drafts.id}.jsonl`, await ask("GET", `drafts/${drafts.id}/row`));
  });
  press("remove", async () => {
    if (!confirm("Move this draft to the folder of removed ones?")) return;
    await drafts.flush();
    await ask("DELETE", `drafts/${drafts.id}`);
    history.replaceState(null, "", " ");
    drafts.dirty = false;
    await drafts.start();
  });
  press("help-button", () => at("help").showModal());
  at("drafts").addEventListener("change", guarded(() => drafts.open(at("drafts").value)));
  for (const tab of document.querySelectorAll("[data-shows]")) {
    tab.addEventListener("click", () => {
      document.body.dataset.part = tab.dataset.shows;
      document.querySelectorAll("[data-shows]").forEach((each) => each.removeAttribute("aria-current"));
      tab.setAttribute("aria-current", "true");
    });
  }
}

const keys = {
  "C-Enter": () => writing.draft(),
  "F2": () => writing.rewrite(false),
  "S-F2": () => writing.rewrite(true),
  "F8": () => checks.step(1),
  "S-F8": () => checks.step(-1),
  "C-z": () => editor.undo(),
  "C-S-z": () => editor.redo(),
  "C-y": () => editor.redo(),
  "C-s": guarded(async () => {
    await keep();
    notice("A version was kept.");
  }),
};

function watchKeys() {
  addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") {
      if (writing.busy) writing.stop();
      else writing.choices.close();
      return;
    }
    const letter = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const name = `${event.ctrlKey || event.metaKey ? "C-" : ""}${event.shiftKey ? "S-" : ""}${letter}`;
    const inField = event.target.matches("input, textarea") && event.target !== editor.area;
    if (!keys[name] || (inField && /z$|y$/.test(name))) return;
    event.preventDefault();
    keys[name]();
  });
}

async function showDesk() {
  try {
    const desk = await ask("GET", "desk");
    state.swappedWords = desk.swapped_words;
    const ready = desk.state === "ready";
    const model = desk.model.split("/").at(-1);
    const said = ready ? model : desk.state === "loading" ? `Reading ${model} …` : desk.state;
    at("model").textContent = said;
    at("model").title = desk.model;
    if (!ready) setTimeout(showDesk, 1000);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    setTimeout(showDesk, 2000);
  }
}

watchBrief(() => {
  drafts.touched();
  checks.soon();
});
watchVersions(drafts, (text) => editor.replace(0, editor.text.length, text, "set"), () => editor.text);
watchButtons();
watchKeys();
watchCopies();
showDesk();
// What is typed before the last draft is there would give way to it.
guarded(() => drafts.start())().finally(() => {
  document.querySelector("main").inert = false;
});
