// Several texts of which one is taken: by a click, or by its number.

const at = (id) => document.getElementById(id);

export class Choices {
  constructor(closed) {
    this.closed = closed;
    this.taken = null;
    at("choices-close").addEventListener("click", () => this.close());
    at("choices").addEventListener("keydown", (event) => {
      const items = [...at("choices-list").querySelectorAll("button")];
      const here = items.indexOf(document.activeElement);
      const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (by) {
        event.preventDefault();
        items[(here + by + items.length) % items.length]?.focus();
      } else if (/^[1-9]$/.test(event.key) && items[event.key - 1]) {
        event.preventDefault();
        items[event.key - 1].click();
      }
    });
  }

  get isOpen() {
    return !at("choices").hidden;
  }

  open(title, whole, taken) {
    this.taken = taken;
    at("choices-title").textContent = title;
    at("choices-list").className = whole ? "whole" : "";
    at("choices-list").replaceChildren();
    at("choices").hidden = false;
  }

  // `about` is said below the text.
  set(number, text, about = "") {
    const list = at("choices-list");
    while (list.children.length <= number) {
      const index = list.children.length;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "choice";
      button.dataset.number = index + 1;
      button.append(document.createElement("span"), document.createElement("small"));
      button.addEventListener("click", () => {
        const { taken } = this;
        taken(index);
        this.close();
      });
      const li = document.createElement("li");
      li.append(button);
      list.append(li);
      if (index === 0) button.focus({ preventScroll: true });
    }
    list.children[number].querySelector("span").textContent = text;
    list.children[number].querySelector("small").textContent = about;
  }

  close() {
    if (!this.isOpen) return;
    at("choices").hidden = true;
    this.closed();
  }
}
