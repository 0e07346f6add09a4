// One or two thumbs over one track, with a number field each. A move is sent at once, then at most every WAIT milliseconds, the last one
// always. Each has a number (`turn`): values of the server that answer an earlier move than the last are not drawn over it.
const WAIT = 100;
const sliders = new WeakMap();

function make(root) {
  const all = (query) => [...root.querySelectorAll(query)];
  const self = { values: [], turn: -1, waiting: null, unsent: false, thumbs: all(".thumb"), numbers: all(".number") };

  function send() {
    self.unsent = false;
    self.emit("moved", { values: self.values, turn: self.turn });
    self.waiting = setTimeout(() => {
      self.waiting = null;
      if (self.unsent) send();
    }, WAIT);
  }

  // The thumb that moves stops `gap` before the other.
  function move(place, wanted) {
    const { low, high, gap, step } = self.data;
    const [least, most] = self.values.length === 1 ? [low, high] : place ? [self.values[0] + gap, high] : [low, self.values[1] - gap];
    const stepped = Number((low + Math.round((wanted - low) / step) * step).toFixed(6));
    const value = Math.min(Math.max(stepped, least), most);
    if (value !== self.values[place]) {
      self.values = self.values.with(place, value);
      self.turn += 1;
      self.unsent = true;
      if (self.waiting === null) send();
    }
    self.draw();
  }

  self.draw = () => {
    const { low, high } = self.data;
    const share = (value) => `${(100 * (value - low)) / (high - low || 1)}%`;
    self.values.forEach((value, place) => {
      self.thumbs[place].value = value;
      if (root.activeElement !== self.numbers[place]) self.numbers[place].value = value;
    });
    const track = root.querySelector(".track").style;
    track.setProperty("--from", share(self.values.length === 1 ? low : self.values[0]));
    track.setProperty("--to", share(self.values.at(-1)));
    // At the end of the track both thumbs lie on each other: the first one must be reachable.
    self.thumbs[0].style.zIndex = self.values.length === 2 && self.values[0] > (low + high) / 2 ? 1 : 0;
  };

  self.thumbs.forEach((thumb, place) => {
    thumb.oninput = () => move(place, thumb.valueAsNumber);
  });
  self.numbers.forEach((number, place) => {
    const done = () => {
      if (Number.isFinite(number.valueAsNumber)) move(place, number.valueAsNumber);
      number.value = self.values[place];
    };
    number.onchange = done;
    number.onkeydown = (event) => {
      if (event.key === "Enter") done();
    };
  });
  return self;
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement;
  const self = sliders.get(root) ?? make(root);
  sliders.set(root, self);
  self.emit = setStateValue;
  self.data = data;
  if (self.turn < 0 || data.turn >= self.turn) {
    self.turn = data.turn;
    self.values = data.values;
  }
  const text = (query, words) => {
    const element = root.querySelector(query);
    if (element.textContent !== words) element.textContent = words;
  };
  text(".label", data.label);
  text("#about", data.help);
  text(".unit", data.unit);
  text(".note", data.note);
  root.querySelector(".note").style.setProperty("--lines", data.lines);
  root.querySelector(".about").hidden = !data.help;
  root.querySelector(".slider").setAttribute("aria-label", data.label);
  root.querySelector(".slider").classList.toggle("one", data.values.length === 1);
  root.querySelector(".dash").hidden = data.values.length === 1;
  for (const inputs of [self.thumbs, self.numbers]) {
    inputs.forEach((input, place) => {
      input.hidden = place >= data.values.length;
      Object.assign(input, { min: data.low, max: data.high, step: data.step });
      input.setAttribute("aria-label", data.names[place] ?? "");
      if (input.type === "range") input.setAttribute("aria-valuetext", `${self.values[place]}${data.unit}`);
    });
  }
  self.draw();
}
