// What stands beside the draft: the outline's points, its place in the corpus, findings.

import { ask, Failure } from "/page/api.js";
import { showFacts } from "/page/brief.js";

const at = (id) => document.getElementById(id);
const WAIT = 140; // ms after a change
const WHOLE = 0.6; // a finding that spans more of the text than this is listed only

const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

export class Checks {
  // content(): {text, brief}
  constructor(editor, content) {
    this.editor = editor;
    this.content = content;
    this.findings = [];
    this.timer = 0;
    this.busy = this.again = false;
    document.addEventListener("selectionchange", () => this.markCurrent());
  }

  soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.now(), WAIT);
  }

  // One request at a time; the text that is there when it is answered is asked about next.
  async now() {
    if (this.busy) {
      this.again = true;
      return;
    }
    this.busy = true;
    const { text, brief } = this.content();
    try {
      const found = await ask("POST", "check", { text, brief });
      if (text === this.editor.text) this.show(found, brief);
      else this.again = true;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      if (error.status === 429) setTimeout(() => this.soon(), 1000);
    } finally {
      this.busy = false;
      if (this.again) {
        this.again = false;
        this.soon();
      }
    }
  }

  show(found, brief) {
    // points that are not covered stand in the outline's own list
    this.findings = found.findings.filter((each) => each.rule !== "outline-points");
    const asked = brief.words ? ` of ${brief.words}` : "";
    at("length").textContent = `${found.words.toLocaleString("en")}${asked} words`;
    showFacts(found.points);
    this.showPoints(found.points);
    this.showFigures(found.figures);
    const focused = document.activeElement?.dataset?.key;
    at("findings").replaceChildren(...this.findings.map((each, i) => this.item(each, i)));
    if (focused) at("findings").querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
    const count = this.findings.length;
    const said = count ? String(count) : "";
    if (at("count").textContent !== said) at("count").textContent = said;
    at("tab-count").textContent = count ? `(${count})` : "";
    at("no-findings").hidden = count > 0;
    at("no-findings").textContent = this.editor.text.trim()
      ? "Nothing found."
      : "What differs from the corpus’s writing is listed here as you write.";
    const most = WHOLE * this.editor.text.length;
    this.editor.setMarks(
      this.findings
        .filter((f) => f.end > f.start && (f.end - f.start < most || f.end - f.start < 80))
        .map((f) => ({ start: f.start, end: f.end, class: f.severity })),
    );
    this.markCurrent();
  }

  item(finding, i) {
    const li = element("li");
    const button = element("button", "finding");
    button.type = "button";
    button.dataset.key = `${finding.rule} ${i}`;
    button.append(element("span", "", sentence(finding.message)));
    const small = element("small");
    small.append(element("b", finding.severity, finding.severity), ` · ${finding.rule}`);
    button.append(small);
    button.addEventListener("click", () => {
      document.body.dataset.part === "checks" && document.querySelector("[data-shows=draft]").click();
      this.editor.show(finding.start, finding.end);
    });
    li.append(button);
    if (finding.replacement !== null) {
      const fix = element("button", "fix", finding.replacement ? "Replace" : "Remove");
      fix.type = "button";
      fix.title = finding.replacement ? `by “${finding.replacement}”` : "";
      fix.addEventListener("click", () =>
        this.editor.replace(finding.start, finding.end, finding.replacement));
      li.append(fix);
    }
    return li;
  }

  showPoints(points) {
    at("points-part").hidden = !points.length;
    at("points").replaceChildren(...points.map((point) => {
      const li = element("li", point.covered ? "covered" : "", point.text);
      li.append(element("span", "unseen", point.covered ? " (covered)" : " (not covered yet)"));
      return li;
    }));
  }

  showFigures(figures) {
    at("figures-part").hidden = !figures.length;
    at("figures").replaceChildren(...figures.map((figure) => {
      const li = element("li");
      const what = element("div", "what");
      what.append(element("span", "", figure.name), element("b", "", figure.value));
      const outside = figure.value < figure.low || figure.value > figure.high;
      const strip = element("div", outside ? "strip out" : "strip");
      strip.setAttribute("aria-hidden", "true");
      const band = element("i");
      band.style.left = `${figure.from}%`;
      band.style.right = `${100 - figure.to}%`;
      const dot = element("b");
      dot.style.left = `${figure.at}%`;
      strip.append(band, dot);
      const share = Math.round(100 * figure.share);
      const said = `more than ${share}% of the corpus; nine in ten have ${figure.low} to ${figure.high}`;
      li.append(what, strip, element("p", "said", said));
      return li;
    }));
  }

  // The finding that the cursor is in.
  markCurrent() {
    if (document.activeElement !== this.editor.area) return;
    const place = this.editor.area.selectionStart;
    const inside = (f) => f.end > f.start && f.start <= place && place <= f.end;
    const buttons = at("findings").querySelectorAll(".finding");
    this.findings.forEach((finding, i) => {
      if (inside(finding)) buttons[i]?.setAttribute("aria-current", "true");
      else buttons[i]?.removeAttribute("aria-current");
    });
  }

  // To the next finding behind the cursor, or the last one before it.
  step(by) {
    const places = this.findings.filter((f) => f.end > f.start);
    if (!places.length) return;
    const { selectionStart: start } = this.editor.area;
    const next = by > 0
      ? places.find((f) => f.start > start) ?? places[0]
      : places.findLast((f) => f.start < start) ?? places.at(-1);
    this.editor.show(next.start, next.end);
    at("notice").textContent = sentence(next.message);
  }
}

const sentence = (message) => message.charAt(0).toUpperCase() + message.slice(1);
