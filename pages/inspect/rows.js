// The list of queries: a list box of the page. A click, an arrow key, Home or End picks a row at once; the server hears it afterwards.
const SVG = "http://www.w3.org/2000/svg";

function histogram(bars, positive) {
  const figure = document.createElementNS(SVG, "svg");
  figure.setAttribute("viewBox", `0 0 ${bars.length * 5} 30`);
  figure.setAttribute("aria-hidden", "true");
  const most = Math.max(...bars, 1);
  bars.forEach((count, place) => {
    const bar = document.createElementNS(SVG, "rect");
    const height = count ? Math.max((29 * count) / most, 2) : 0;
    Object.entries({ x: 5 * place, y: 30 - height, width: 4, height }).forEach(([name, value]) => bar.setAttribute(name, value));
    figure.append(bar);
  });
  if (positive !== null) {
    const line = document.createElementNS(SVG, "line");
    Object.entries({ x1: 5 * bars.length * positive, x2: 5 * bars.length * positive, y1: 0, y2: 30 }).forEach(([name, value]) =>
      line.setAttribute(name, value),
    );
    figure.append(line);
  }
  return figure;
}

function option(row, place) {
  const item = document.createElement("div");
  item.role = "option";
  item.id = `row-${place}`;
  item.dataset.id = row.id;
  const text = document.createElement("span");
  text.className = "text";
  text.dir = "auto";
  text.textContent = row.text;
  const facts = document.createElement("span");
  facts.className = "facts";
  facts.textContent = row.facts;
  item.append(text, facts, histogram(row.bars, row.positive));
  return item;
}

function mark(list, id) {
  for (const item of list.children) {
    const picked = item.dataset.id === id;
    item.setAttribute("aria-selected", String(picked));
    if (picked) {
      list.setAttribute("aria-activedescendant", item.id);
      item.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  }
}

export default function ({ data, parentElement, setStateValue }) {
  const list = parentElement.querySelector("[role=listbox]");
  const [positives, negatives] = getComputedStyle(list).getPropertyValue("--st-chart-categorical-colors").split(",");
  list.style.setProperty("--positives", positives);
  list.style.setProperty("--negatives", negatives);
  const content = JSON.stringify(data.rows);
  if (list.dataset.content !== content) {
    list.dataset.content = content;
    list.replaceChildren(...data.rows.map(option));
    list.scrollTop = 0;
  }
  list.setAttribute("aria-label", data.label);
  list.style.height = `${data.height}px`;
  mark(list, data.picked);

  function pick(item) {
    if (!item || item.getAttribute("aria-selected") === "true") return;
    mark(list, item.dataset.id);
    setStateValue("picked", item.dataset.id);
  }
  list.onclick = (event) => pick(event.target.closest("[role=option]"));
  list.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const held = list.querySelector("[aria-selected=true]");
    const moves = {
      ArrowDown: held ? held.nextElementSibling : list.firstElementChild,
      ArrowUp: held?.previousElementSibling,
      Home: list.firstElementChild,
      End: list.lastElementChild,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    pick(moves[event.key]);
  };
}
