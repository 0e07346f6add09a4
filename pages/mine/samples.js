// Some queries, each with its positive and its first negatives. All texts are data: they are set as text, never as HTML.
function element(parent, name, className, text = "") {
  const made = parent.appendChild(document.createElement(name));
  made.className = className;
  made.textContent = text;
  made.dir = "auto";
  return made;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".samples");
  const focused = [...root.querySelectorAll(".query")].indexOf(parentElement.activeElement);
  const colours = getComputedStyle(parentElement.host ?? root).getPropertyValue("--st-chart-categorical-colors").split(",");
  root.replaceChildren();
  for (const sample of data.samples) {
    const part = element(root, "div", "sample");
    const query = element(part, "button", "query", sample.query);
    query.title = "Open in Inspect";
    query.onclick = () => setTriggerValue("opened", sample.id);
    for (const each of sample.passages) {
      const line = element(part, "div", "line");
      const kind = element(line, "span", "kind", each.kind);
      kind.style.setProperty("--dot", colours[each.positive ? 0 : 1] ?? "currentcolor");
      element(line, "span", "score", each.score);
      element(line, "span", "text", each.text).title = each.text;
      element(line, "span", "new", each.changed ? "new" : "");
    }
  }
  if (focused >= 0) root.querySelectorAll(".query")[focused]?.focus();
}
