// Passages as rows of whole text. What it draws is text of the data, so it is only ever set as textContent.
const shown = new WeakMap();

// Every second part of a text is highlighted.
function text(row) {
  const paragraph = document.createElement("p");
  paragraph.dir = "auto";
  row.parts.forEach((part, place) => {
    const mark = document.createElement("mark");
    mark.textContent = part;
    paragraph.append(place % 2 ? mark : part);
  });
  return paragraph;
}

// The name that the Review screen remembers (`WHO` in desk.js).
function reviewer() {
  try { return localStorage.getItem("hnmine-reviewer") ?? ""; } catch { return ""; }
}

function button(label, help, pressed, onclick) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = label;
  made.title = help;
  made.setAttribute("aria-pressed", String(pressed));
  made.onclick = onclick;
  return made;
}

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  const list = parentElement.querySelector("ol");
  const back = parentElement.querySelector(".back");
  back.hidden = !data.back;
  back.onclick = () => document.querySelector(`.st-key-${data.back}`)?.scrollIntoView({ block: "start" });
  const before = shown.get(list) ?? {};
  const focused = list.getRootNode().activeElement;
  const place = focused && list.contains(focused) ? [focused.closest("li").dataset.id, focused.textContent] : null;

  function pick(id) {
    for (const item of list.children) item.classList.toggle("picked", item.dataset.id === id);
    if (data.picks) setStateValue("picked", id);
  }

  function item(row) {
    const line = document.createElement("li");
    line.dataset.id = row.id;
    line.className = [row.kind, row.id === data.picked ? "picked" : ""].join(" ").trim();
    const head = document.createElement("div");
    head.className = "head";
    if (row.name) {
      const name = document.createElement("strong");
      name.textContent = row.name;
      head.append(name);
    }
    const facts = document.createElement("span");
    facts.textContent = row.facts;
    head.append(facts);
    if (row.status) {
      const status = document.createElement("span");
      status.className = "status";
      status.textContent = row.status;
      head.append(status);
    }
    if (data.actions.length) {
      const buttons = document.createElement("span");
      buttons.className = "buttons";
      buttons.role = "group";
      buttons.ariaLabel = `Verdict on ${row.name || row.facts}`;
      for (const [verdict, label, help] of data.actions) {
        const pressed = row.verdict === verdict;
        buttons.append(
          button(label, help, pressed, (event) => {
            event.stopPropagation();
            for (const each of buttons.children) each.setAttribute("aria-pressed", "false");
            event.currentTarget.setAttribute("aria-pressed", String(!pressed));
            setTriggerValue("verdict", { id: row.id, verdict: pressed ? null : verdict, who: reviewer() });
          }),
        );
      }
      head.append(buttons);
    }
    if (row.name || row.facts || data.actions.length) line.append(head);
    line.append(text(row));
    for (const each of row.more) {
      const more = document.createElement("div");
      more.className = "more";
      more.textContent = each;
      line.append(more);
    }
    if (data.picks) line.onclick = () => pick(row.id);
    return line;
  }

  list.replaceChildren(...data.rows.map(item));
  list.setAttribute("aria-label", data.label);
  list.style.height = `${data.height}px`;
  if (place) {
    const same = [...list.children].find((each) => each.dataset.id === place[0]);
    [...(same?.querySelectorAll("button") ?? [])].find((each) => each.textContent === place[1])?.focus({ preventScroll: true });
  }
  if (before.of !== undefined && before.of !== data.of) {
    list.scrollTop = 0;
    // On a phone the list is above: show what was picked there.
    if (data.back && matchMedia("(max-width: 640px)").matches) back.scrollIntoView({ block: "start" });
  }
  if (data.picked !== before.picked) list.querySelector(".picked")?.scrollIntoView({ block: "nearest" });
  shown.set(list, { of: data.of, picked: data.picked });
}
