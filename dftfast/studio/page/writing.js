// What the model does: drafts of the brief, and passages anew in place.

import { Failure, stream } from "/page/api.js";
import { Choices } from "/page/choices.js";

const at = (id) => document.getElementById(id);

const some = (n, what) => (n ? `${n} ${what}${n > 1 ? "s" : ""}` : "");
const findings = ({ errors, warnings }) =>
  [some(errors, "error"), some(warnings, "warning")].filter(Boolean).join(", ") || "no findings";

export class Writing {
  // page: {editor, drafts, brief(), notice(words, wrong), keep(), wrote(text)}
  constructor(page) {
    this.page = page;
    this.stopper = null;
    this.choices = new Choices(() => this.closed());
  }

  get busy() {
    return this.stopper !== null;
  }

  stop() {
    this.stopper?.abort();
  }

  // Run `work(signal)` with the buttons set for it, and say how it ended.
  async run(words, work) {
    if (this.busy) return;
    this.stopper = new AbortController();
    this.buttons(true);
    this.page.notice(words);
    try {
      this.page.notice((await work(this.stopper.signal)) ?? "");
    } catch (error) {
      if (error.name === "AbortError") this.page.notice("Stopped.");
      else if (error instanceof Failure) this.page.notice(error.message, true);
      else throw error;
    } finally {
      this.stopper = null;
      this.buttons(false);
    }
  }

  buttons(busy) {
    for (const id of ["write", "three", "sentence", "paragraph"]) at(id).disabled = busy;
    at("write").hidden = at("three").hidden = busy;
    at("stop").hidden = !busy;
  }

  draft() {
    const { editor, drafts, keep, wrote, brief, notice } = this.page;
    this.choices.close();
    return this.run("Waiting for the first word …", async (signal) => {
      await keep();
      let begun = false;
      let why = null;
      try {
        const asked = { brief: brief() };
        for await (const piece of stream(`drafts/${drafts.id}/write`, asked, signal)) {
          if (!begun) {
            editor.begin();
            begun = true;
            notice("Writing …");
          }
          editor.append(piece.text);
          why = piece.finish ?? why;
        }
      } finally {
        if (begun) {
          editor.end();
          wrote(editor.text, true);
        }
      }
      return why === "length" ? "Cut off at the longest length of a draft." : "Written.";
    });
  }

  three() {
    const { editor, drafts, keep, wrote, brief, notice } = this.page;
    this.choices.close();
    return this.run("Writing …", async (signal) => {
      await keep();
      const texts = [];
      for await (const event of stream(`drafts/${drafts.id}/three`, { brief: brief() }, signal)) {
        if (event.of) {
          notice(`Writing ${event.of} drafts, ${event.done} done …`);
          continue;
        }
        if (!texts.length) {
          this.choices.open("Three drafts, the fewest findings first", true, (i) => {
            editor.replace(0, editor.text.length, texts[i], "model");
            wrote(editor.text, true);
            editor.area.focus();
          });
        }
        texts.push(event.text);
        this.choices.set(event.sample, event.text, findings(event));
      }
      return "Take one of the three; all that were written are among the versions.";
    });
  }

  rewrite(wholeParagraph) {
    const { editor, drafts, brief, wrote } = this.page;
    const what = wholeParagraph ? "paragraph" : "sentence";
    const { selectionStart, selectionEnd } = editor.area;
    return this.run(`Looking for another ${what} …`, async (signal) => {
      const asked = {
        brief: brief(), text: editor.text, start: selectionStart, end: selectionEnd,
        whole_paragraph: wholeParagraph,
      };
      let old = null;
      const found = [];
      for await (const event of stream(`drafts/${drafts.id}/rewrite`, asked, signal)) {
        if (event.old !== undefined) {
          old = event.old;
          editor.setAnchor({ start: event.start, end: event.end, class: "anchor" });
          this.choices.open(`In place of this ${what}`, false, (i) => this.put(old, found[i]));
        } else {
          found.push(event.text);
          this.choices.set(found.length - 1, event.text);
        }
      }
      if (found.length) return "Take one by its number, or close.";
      this.choices.close();
      return `The model wrote no other ${what}; try again.`;
    });
  }

  put(old, text) {
    const { editor, notice, wrote } = this.page;
    const place = editor.anchor;
    if (!place || editor.text.slice(place.start, place.end) !== old) {
      notice("That passage was changed meanwhile; nothing was replaced.", true);
      return;
    }
    editor.replace(place.start, place.end, text, "model");
    wrote(text, false);
    editor.area.focus();
    notice("Replaced. Undo brings the old words back.");
  }

  closed() {
    this.page.editor.setAnchor(null);
    this.page.editor.area.focus({ preventScroll: true });
  }
}
