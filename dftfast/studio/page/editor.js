// The text of a draft: a text area, and under it the same text with marks, which also gives the
// area its height. It keeps its own history, so that what a model writes can be undone as well.

const PAUSE = 700; // ms of typing that are undone together
const MOST = 300; // steps

export class Editor {
  // changed(kind): "typed", "model" or "set"
  constructor(area, under, changed) {
    this.area = area;
    this.under = under;
    this.changed = changed;
    this.text = area.value;
    this.marks = [];
    this.anchor = null; // {start, end, class}: a place that is kept track of
    this.mark = null; // where the model's next piece goes
    this.reset("");
    area.addEventListener("input", () => this.typed());
    area.addEventListener("beforeinput", (event) => {
      if (event.inputType === "historyUndo" || event.inputType === "historyRedo") {
        event.preventDefault();
        event.inputType === "historyUndo" ? this.undo() : this.redo();
      }
    });
  }

  reset(text) {
    this.area.value = this.text = text;
    this.marks = [];
    this.anchor = this.mark = null;
    this.past = [];
    this.future = [];
    this.since = 0;
    this.draw();
  }

  typed() {
    const now = performance.now();
    if (now - this.since > PAUSE || this.kind !== "typed") this.remember();
    this.since = now;
    this.kind = "typed";
    this.follow(this.area.value);
    this.changed("typed");
  }

  // Put `text` at a place, as one step of the history, and select it.
  replace(start, end, text, kind = "typed") {
    this.remember();
    this.kind = kind;
    this.area.setRangeText(text, start, end, "select");
    this.follow(this.area.value);
    this.changed(kind);
  }

  // What a model writes takes the place of everything, and is one step.
  begin() {
    if (this.text) this.remember();
    this.area.value = "";
    this.follow("");
    this.remember();
    this.kind = "model";
    this.mark = 0;
  }

  append(piece) {
    const { scrollX, scrollY } = window;
    this.area.setRangeText(piece, this.mark, this.mark, "preserve");
    const next = this.mark + piece.length;
    this.follow(this.area.value, this.mark);
    this.mark = next;
    window.scrollTo(scrollX, scrollY);
    this.changed("model");
  }

  end() {
    this.mark = null;
    this.kind = "";
    const text = this.text.trim();
    if (text !== this.text) {
      this.area.value = text;
      this.follow(text);
      this.changed("model");
    }
  }

  remember() {
    const last = this.past.at(-1);
    if (!last || last.text !== this.text) {
      this.past.push({ text: this.text, at: this.area.selectionStart });
      if (this.past.length > MOST) this.past.shift();
    }
    this.future = [];
  }

  undo() {
    this.step(this.past, this.future);
  }

  redo() {
    this.step(this.future, this.past);
  }

  step(from, to) {
    if (this.mark !== null) return;
    while (from.length && from.at(-1).text === this.text) from.pop();
    const state = from.pop();
    if (!state) return;
    to.push({ text: this.text, at: this.area.selectionStart });
    this.kind = "";
    this.area.value = state.text;
    this.area.setSelectionRange(state.at, state.at);
    this.follow(state.text);
    this.changed("set");
  }

  // Take the new text; marks and places behind the change move along.
  follow(text, insertedAt = null) {
    const old = this.text;
    const most = Math.min(old.length, text.length);
    let start = 0;
    if (insertedAt === null) while (start < most && old[start] === text[start]) start++;
    else start = insertedAt;
    let same = 0;
    while (same < most - start && old[old.length - 1 - same] === text[text.length - 1 - same]) same++;
    const end = old.length - same;
    const by = text.length - old.length;
    const moved = (place) => (place <= start ? place : place >= end ? place + by : start);
    this.marks = this.marks
      .map((each) => ({ ...each, start: moved(each.start), end: moved(each.end) }))
      .filter((each) => each.end > each.start);
    if (this.anchor) {
      this.anchor = { ...this.anchor, start: moved(this.anchor.start), end: moved(this.anchor.end) };
    }
    if (this.mark !== null && insertedAt === null) this.mark = moved(this.mark);
    this.text = text;
    this.draw();
  }

  setMarks(marks) {
    this.marks = marks;
    this.draw();
  }

  setAnchor(anchor) {
    this.anchor = anchor;
    this.draw();
  }

  draw() {
    const spans = [...this.marks, ...(this.anchor ? [this.anchor] : [])];
    const cuts = [...new Set([0, this.text.length, ...spans.flatMap((s) => [s.start, s.end])])];
    cuts.sort((a, b) => a - b);
    const nodes = [];
    for (let i = 0; i + 1 < cuts.length; i++) {
      const piece = document.createTextNode(this.text.slice(cuts[i], cuts[i + 1]));
      const classes = spans
        .filter((s) => s.start <= cuts[i] && s.end >= cuts[i + 1])
        .map((s) => s.class);
      if (!classes.length) {
        nodes.push(piece);
        continue;
      }
      const mark = document.createElement("mark");
      mark.className = classes.join(" ");
      mark.append(piece);
      nodes.push(mark);
    }
    // a last line break has no height of its own in a block
    this.under.replaceChildren(...nodes, "\u200b");
  }

  show(start, end) {
    this.area.focus({ preventScroll: true });
    this.area.setSelectionRange(start, end);
    const range = document.createRange();
    const walker = document.createTreeWalker(this.under, NodeFilter.SHOW_TEXT);
    let at = 0;
    for (let node = walker.nextNode(); node; at += node.length, node = walker.nextNode()) {
      if (at + node.length >= start) {
        range.setStart(node, Math.max(start - at, 0));
        range.collapse(true);
        const box = range.getBoundingClientRect();
        if (box.top < 140 || box.bottom > innerHeight - 90) {
          scrollBy({ top: box.top - innerHeight / 3, behavior: "instant" });
        }
        return;
      }
    }
  }
}
