// Copies of a draft that a model wrote and nobody has read or edited carry a few exchanged words.
// They are shown to the writer; reading to the end or changing a word ends it.

const OTHERS = (
  "walrus otter badger heron lobster hedgehog pelican weasel mango papaya quince apricot lychee " +
  "plum kiwi turnip"
).split(" ");
const READ = 10; // words a second that a reader can take in
const LONGEST = 90; // seconds

// `count` words of the text exchanged; `draw()` is a random number in [0, 1).
export function swapped(text, count, draw = Math.random) {
  const words = [...text.matchAll(/(?<![\p{L}\p{N}'’-])[a-z]{4,12}(?![\p{L}\p{N}'’-])/gu)];
  const picked = new Map();
  const step = words.length / Math.max(Math.min(count, words.length), 1);
  for (let i = 0; i < Math.min(count, words.length); i++) {
    const word = words[Math.floor(i * step + draw() * step)];
    const free = OTHERS.filter((o) => ![...picked.values()].some((p) => p.to === o));
    const to = free[Math.floor(draw() * free.length)] ?? OTHERS[0];
    picked.set(word.index, { from: word[0], to });
  }
  let out = "";
  let from = 0;
  for (const [place, swap] of [...picked].sort((a, b) => a[0] - b[0])) {
    out += text.slice(from, place) + swap.to;
    from = place + swap.from.length;
  }
  return { text: out + text.slice(from), swaps: [...picked.values()] };
}

// Notices when a draft has been on the screen to its end for as long as reading takes.
export class Reading {
  constructor(end, done) {
    this.done = done;
    this.since = this.needed = 0;
    this.reached = this.waiting = false;
    new IntersectionObserver(([entry]) => {
      this.atEnd = entry.isIntersecting;
      this.look();
    }).observe(end);
    document.addEventListener("visibilitychange", () => document.hidden && this.restart());
  }

  begin(text) {
    this.waiting = true;
    this.needed = 1000 * Math.min(text.split(/\s+/).length / READ, LONGEST);
    this.restart();
  }

  end() {
    this.waiting = false;
  }

  restart() {
    this.since = performance.now();
    this.look();
  }

  look() {
    clearTimeout(this.timer);
    if (!this.waiting || !this.atEnd || document.hidden) return;
    const left = this.needed - (performance.now() - this.since);
    if (left > 0) this.timer = setTimeout(() => this.look(), left);
    else {
      this.waiting = false;
      this.done();
    }
  }
}
