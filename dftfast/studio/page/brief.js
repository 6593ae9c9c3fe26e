// The form that says what a text is to be.

import { examples } from "/page/examples.js";

const at = (id) => document.getElementById(id);

export function briefOf() {
  const words = Math.round(Number(at("words").value));
  return {
    prompt: at("prompt").value,
    outline: at("outline").value.split("\n").map((line) => line.trim()).filter(Boolean).slice(0, 100),
    use_case: at("use-case").value,
    style: at("style").value,
    words: words >= 1 && words <= 20000 ? words : null,
    em_dashes: at("em-dashes").checked,
  };
}

export function fillBrief(brief) {
  at("prompt").value = brief.prompt ?? "";
  at("outline").value = (brief.outline ?? []).join("\n");
  at("use-case").value = brief.use_case ?? "";
  at("style").value = brief.style ?? "";
  at("words").value = brief.words ?? "";
  at("em-dashes").checked = Boolean(brief.em_dashes);
}

// What of the outline is to stay as it is.
export function showFacts(points) {
  const facts = [...new Set(points.flatMap((point) => point.facts))];
  const hint = at("facts");
  if (!facts.length) {
    hint.textContent = "Numbers and “quotations” here must reach the draft unchanged.";
    return;
  }
  hint.replaceChildren("Kept unchanged: ");
  facts.forEach((fact, i) => {
    const b = document.createElement("b");
    b.textContent = fact;
    hint.append(i ? " · " : "", b);
  });
}

export function watchBrief(changed) {
  const select = at("example");
  examples.forEach((each, i) => select.add(new Option(each.name, i)));
  select.addEventListener("change", () => {
    if (select.value === "") return;
    fillBrief(examples[Number(select.value)].brief);
    select.value = "";
    changed();
  });
  at("brief-form").addEventListener("input", (event) => {
    if (event.target !== select) changed();
  });
  at("brief-form").addEventListener("submit", (event) => event.preventDefault());
}
