// Drafts: opened, saved while they are written, and restored. What is typed is kept in this
// browser at once, and on the server's disk soon after.

import { ask, Failure } from "/page/api.js";

const at = (id) => document.getElementById(id);
const WAIT = 600; // ms after a change
const AGAIN = 2000; // ms after a failure
const KEEPALIVE = 60000; // bytes that a closing page may still send
const EMPTY = { brief: {}, text: "", written: "", edited: false, read: false };

export class Drafts {
  // content(): what there is to save; fill(content): show it
  constructor(content, fill) {
    this.content = content;
    this.fill = fill;
    this.id = null;
    this.revision = 0;
    this.timer = 0;
    this.dirty = this.busy = this.stuck = false;
    addEventListener("pagehide", () => this.leave());
    document.addEventListener("visibilitychange", () => document.hidden && this.leave());
    at("take-theirs").addEventListener("click", () => this.settle(true));
    at("keep-mine").addEventListener("click", () => this.settle(false));
  }

  async start() {
    const list = await ask("GET", "drafts");
    const wanted = location.hash.slice(1);
    const id = list.some((each) => each.id === wanted) ? wanted : list[0]?.id;
    await (id ? this.open(id) : this.create());
  }

  async create() {
    await this.flush();
    this.take(await ask("POST", "drafts", EMPTY));
    await this.list();
  }

  async open(id) {
    await this.flush();
    const draft = await ask("GET", `drafts/${id}`);
    const kept = this.backup(id);
    if (kept && kept.revision >= draft.revision) {
      this.take({ ...draft, ...kept.content });
      this.touched();
    } else {
      this.take(draft);
      if (kept && kept.content.text !== draft.text) {
        await ask("POST", `drafts/${id}/versions`, { text: kept.content.text });
      }
      this.forget(id);
    }
    await this.list();
  }

  take(draft) {
    const { id, revision, changed, ...content } = draft;
    this.id = id;
    this.revision = revision;
    this.dirty = this.stuck = false;
    at("conflict").hidden = true;
    history.replaceState(null, "", `#${id}`);
    this.fill(content);
    this.say("Saved");
  }

  async list() {
    const list = await ask("GET", "drafts");
    at("drafts").replaceChildren(...list.map((each) => {
      const name = each.title || each.start || "Untitled";
      return new Option(name, each.id, false, each.id === this.id);
    }));
  }

  touched() {
    this.dirty = true;
    this.store();
    if (this.stuck) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), WAIT);
  }

  async save() {
    if (!this.dirty || this.busy || this.stuck) return;
    this.busy = true;
    this.dirty = false;
    const id = this.id;
    try {
      const sent = { ...this.content(), revision: this.revision };
      const saved = await ask("PUT", `drafts/${id}`, sent);
      if (id !== this.id) return;
      this.revision = saved.revision;
      if (!this.dirty) {
        this.forget(id);
        this.say("Saved");
      }
      this.rename(saved);
    } catch (error) {
      this.dirty = true;
      this.failed(error);
    } finally {
      this.busy = false;
      if (this.dirty && !this.stuck) this.timer = setTimeout(() => this.save(), WAIT);
    }
  }

  failed(error) {
    if (!(error instanceof Failure)) throw error;
    if (error.status === 409) {
      this.stuck = true;
      this.theirs = error.body;
      at("conflict").hidden = false;
      return;
    }
    const gone = error.status === 403 || error.status === 404;
    this.say(gone ? "Reload the page to save" : "Not saved yet; kept in this browser", true);
    this.stuck = true;
    setTimeout(() => {
      this.stuck = false;
      this.save();
    }, AGAIN);
  }

  settle(takeTheirs) {
    at("conflict").hidden = true;
    this.stuck = false;
    if (takeTheirs) {
      this.forget(this.id);
      this.take(this.theirs);
      return;
    }
    ask("POST", `drafts/${this.id}/versions`, { text: this.theirs.text }).catch(() => {});
    this.revision = this.theirs.revision;
    this.touched();
  }

  // Save now, before another draft is shown; what cannot be saved stays in this browser.
  async flush() {
    clearTimeout(this.timer);
    while (this.busy) await new Promise((done) => setTimeout(done, 20));
    await this.save();
  }

  leave() {
    if (!this.dirty || this.stuck) return;
    const sent = { ...this.content(), revision: this.revision };
    if (JSON.stringify(sent).length > KEEPALIVE || this.busy) return;
    this.dirty = false;
    ask("PUT", `drafts/${this.id}`, sent, { keepalive: true })
      .then((saved) => (this.revision = saved.revision))
      .catch(() => (this.dirty = true));
  }

  rename(draft) {
    const option = [...at("drafts").options].find((each) => each.value === draft.id);
    const name = draft.brief.prompt || draft.text.trim().slice(0, 80) || "Untitled";
    if (option) option.textContent = name.split("\n")[0];
  }

  store() {
    const kept = { revision: this.revision, content: this.content() };
    try {
      localStorage.setItem(`draft ${this.id}`, JSON.stringify(kept));
    } catch {
      // full or forbidden: the server's copy is all there is
    }
    if (!this.stuck) this.say("Saving …");
  }

  backup(id) {
    try {
      return JSON.parse(localStorage.getItem(`draft ${id}`));
    } catch {
      return null;
    }
  }

  forget(id) {
    try {
      localStorage.removeItem(`draft ${id}`);
    } catch {
      // as above
    }
  }

  say(words, wrong = false) {
    const place = at("saved");
    place.classList.toggle("wrong", wrong);
    if (place.textContent !== words) place.textContent = words;
  }
}
