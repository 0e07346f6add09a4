// The review desk in the browser. A key paints the next pair at once; the decision goes into `outbox`, a list with sequence numbers that
// localStorage keeps until the server acknowledges it. The id of a desk is new with each page, so a duplicated tab has its own; what a
// page left unsaved is sent by the next one under the old id, and the server writes each number of a desk once.

const KEYS = { k: "negative", d: "relevant", p: "positive", j: "junk", s: "unsure" };
const NAMES = { negative: "negative", relevant: "relevant (removed)", positive: "relevant (added as positive)", junk: "junk (removed)", unsure: "unsure" };
const DEBOUNCE = 100, RESEND = 2000, PACE = 5 * 60_000, MOST_PAIRS = 400;
const WHO = "hnmine-reviewer";
// Browsers do not show control characters.
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;

const storage = {
  get(key) { try { return localStorage.getItem(key); } catch { return null; } },
  set(key, value) { try { localStorage.setItem(key, value); return true; } catch { return false; } },
  drop(key) { try { localStorage.removeItem(key); } catch { /* there is no storage */ } },
  keys() { try { return Object.keys(localStorage); } catch { return []; } },
};

function newId() {  // crypto.randomUUID needs https
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), each => each.toString(16).padStart(2, "0")).join("");
}

function write(element, parts) {  // `parts`: plain text and highlighted text in turn
  element.replaceChildren(...parts.map((text, number) => {
    const plain = text.replace(/\r\n?/g, "\n").replace(CONTROL, "\ufffd");
    if (number % 2 === 0) return document.createTextNode(plain);
    const mark = document.createElement("mark");
    mark.textContent = plain;
    return mark;
  }));
}

const live = new Set();  // the desks of this page: two for a moment when Streamlit draws one anew

class Desk {
  constructor(parent, data) {
    this.parent = parent;
    this.root = parent.querySelector(".desk");
    this.prefix = `hnmine-desk/${data.workspace}/`;
    this.id = newId();
    Object.assign(this, { seq: 0, outbox: [], left: {}, turn: 0, inFlight: 0, sentAt: 0, timer: 0, set: null, data });
    Object.assign(this, { queue: null, pairs: new Map(), order: [], back: [], current: null, done: new Set(), marks: new Map(), notes: new Map() });
    Object.assign(this, { history: [], future: [], times: [], decided: 0, shown: 0, message: 0, batches: data.batches, local: "", kept: true, confirm: false });
    for (const key of storage.keys().filter(each => each.startsWith(this.prefix))) {
      try {
        this.left[key.slice(this.prefix.length)] = JSON.parse(storage.get(key));
      } catch { /* not ours */ }
    }
    live.add(this);
    this.who = data.fixed ? data.who : (storage.get(WHO) ?? "");
    this.at(".name").hidden = Boolean(this.who);
    this.listen();
    this.leaving = event => { if (this.unsaved() || this.marks.size) event.preventDefault(); };
    this.online = () => this.send();
    addEventListener("beforeunload", this.leaving);
    addEventListener("online", this.online);
    this.ticking = setInterval(() => this.tick(), 500);
    if (!["INPUT", "TEXTAREA"].includes(document.activeElement?.tagName)) this.focus();
  }

  focus() { this.root.focus({ preventScroll: true }); }

  close() {
    removeEventListener("beforeunload", this.leaving);
    removeEventListener("online", this.online);
    clearInterval(this.ticking);
    clearTimeout(this.timer);
    live.delete(this);
    this.hand();
  }

  hand() {  // what is not saved goes to the desk that is drawn in place of this one; until this one is off the page, it hears keys
    const heir = [...live].find(each => each.prefix === this.prefix);
    if (!heir) return;  // one that comes later reads the storage
    Object.assign(heir.left, this.left);
    if (this.outbox.length) heir.left[this.id] = this.outbox;
    for (const id of this.decisions().flatMap(each => each.pairs)) heir.done.add(id);
    if (heir.done.has(heir.current)) {
      heir.advance();
      heir.paint();
    }
    heir.flush();
  }

  at(selector) { return this.parent.querySelector(selector); }

  // Talking to the server

  unsaved() { return this.outbox.length + Object.values(this.left).reduce((sum, actions) => sum + actions.length, 0); }

  decisions() { return [...Object.values(this.left).flat(), ...this.outbox].filter(each => each.kind === "decide"); }  // unsaved

  flush() {
    this.timer ||= setTimeout(() => { this.timer = 0; this.send(); }, this.inFlight ? DEBOUNCE : 0);
  }

  send() {
    this.inFlight = ++this.turn;
    this.sentAt = performance.now();
    const boxes = [...Object.entries(this.left), [this.id, this.outbox]].filter(([, actions]) => actions.length);
    this.set("sent", {
      desk: this.id, turn: this.turn, queue: this.queue ?? "", who: this.who, wide: innerWidth >= 1200,
      have: this.ahead(), shown: this.shown, again: this.wanted ?? "", current: this.current ?? "", boxes: boxes.map(([desk, actions]) => ({ desk, actions })),
    });
  }

  tick() {
    this.place();
    const waited = performance.now() - this.sentAt > RESEND;
    if (waited && (this.unsaved() || this.inFlight || (!this.current && this.data.waiting))) this.send();
    this.status();
  }

  act(kind, fields) {
    this.outbox.push({ seq: ++this.seq, kind, run: this.data.run, pairs: [], verdict: null, note: "", who: this.who || this.data.who, at: new Date().toISOString(), ...fields });
    this.keep();
    if (live.has(this)) this.flush();
    else this.hand();
  }

  keep() {
    if (this.outbox.length) this.kept = storage.set(this.prefix + this.id, JSON.stringify(this.outbox));
    else storage.drop(this.prefix + this.id);
  }

  recorded(desk, number) {
    if (desk === this.id) {
      this.outbox = this.outbox.filter(each => each.seq > number);
      this.keep();
    } else if (this.left[desk]) {
      const key = this.prefix + desk;  // read again: its page may be open and have gone on
      const rest = JSON.parse(storage.get(key) ?? "null") ?? this.left[desk];
      this.left[desk] = rest.filter(each => each.seq > number);
      if (this.left[desk].length) return;
      delete this.left[desk];
      storage.drop(key);
    }
  }

  receive(data, set) {
    this.set = set;
    if (data.mode !== this.data.mode || document.activeElement === document.body) this.focus();
    this.data = data;
    for (const [desk, number] of Object.entries(data.recorded)) this.recorded(desk, number);
    if (data.desk !== this.id) {  // the server does not know this desk yet, or no longer
      if (this.drawn === undefined) this.paint();
      else this.status();
      if (!this.inFlight || performance.now() - this.sentAt > DEBOUNCE) this.flush();
      return;
    }
    if (data.turn >= this.inFlight) this.inFlight = 0;
    else if (this.outbox.length) this.flush();
    if (data.queue !== this.queue) {  // other pairs: begin anew, with what the server does not have yet
      this.queue = data.queue;
      this.done = new Set(this.decisions().flatMap(each => each.pairs));
      this.current = null;
      this.back = [];
      this.marks.clear();
    }
    if (data.batches !== this.batches) {  // the server undoes what was decided beside the desk only before the decisions of a new one
      this.batches = data.batches;
      this.renew();
      this.flush();
    }
    // Pairs that an undo has opened again: the server gives them only when there is room.
    const back = this.back.filter(id => !data.order.includes(id) && !data.taken[id] && !this.done.has(id));
    this.order = [...back, ...data.order];
    for (const pair of data.pairs) this.pairs.set(pair.id, pair);
    if (this.pairs.size > MOST_PAIRS) this.forget();
    const before = this.current;
    if (data.show && data.show.turn !== this.shown) {
      this.shown = data.show.turn;
      this.current = data.show.id;
      this.focus();
    }
    if (this.wanted && this.pairs.has(this.wanted)) this.again(this.wanted);
    if (data.message && data.message.turn !== this.message) {
      this.message = data.message.turn;
      this.local = data.message.text;
    }
    if (!this.current || !this.pairs.has(this.current)) this.advance();
    if (this.queries() && this.fresh && !this.marks.size) this.current = this.group()[0] ?? this.current;
    if (this.drawn !== this.view() || this.current !== before) this.paint();
    else this.status();
  }

  forget() {
    const wanted = new Set([...this.order, this.current, ...this.history.slice(-100).flatMap(each => each.steps.flatMap(step => step.ids))]);
    for (const id of this.pairs.keys()) if (!wanted.has(id)) this.pairs.delete(id);
  }

  // Pairs

  ahead() { return this.order.filter(id => this.pairs.has(id) && !this.done.has(id)); }

  advance() {
    this.current = this.ahead().find(id => id !== this.current) ?? null;
    this.fresh = true;  // in Query mode: no row of this query is chosen yet
  }

  group() {  // the rows of Query mode: what is open of the query of the current pair
    const query = this.pairs.get(this.current)?.query_id;
    const rows = this.ahead().filter(id => this.pairs.get(id).query_id === query);
    return rows.includes(this.current) || !this.current ? rows : [this.current, ...rows];
  }

  decide(steps) {  // [{ids, verdict, note}], all undone by one press
    const who = this.who || this.data.who;
    if (!this.who && who) this.named(who);
    this.local = "";
    for (const { ids, verdict, note } of steps) this.act("decide", { pairs: ids, verdict, note, who });
    const ids = steps.flatMap(each => each.ids);
    ids.forEach(id => { this.done.add(id); this.marks.delete(id); this.notes.delete(id); });
    this.history.push({ steps, who });
    this.future = [];
    this.count(ids.length);
    this.advance();
    this.paint();
  }

  count(number) {
    const now = Date.now();
    this.decided += number;
    for (let each = 0; each < number; each++) this.times.push(now);
    for (let each = 0; each > number; each--) this.times.pop();
  }

  verdict(verdict) {
    if (!this.current) return;
    if (!this.queries()) {
      this.decide([{ ids: [this.current], verdict, note: this.notes.get(this.current) ?? "" }]);
      return;
    }
    this.mark(this.current, verdict);
    const rows = this.group(), next = rows[rows.indexOf(this.current) + 1];
    if (next) this.current = next;
    this.paint();
  }

  mark(id, verdict) {
    if (this.marks.get(id) === verdict) this.marks.delete(id);
    else this.marks.set(id, verdict);
  }

  confirmAll() {
    const steps = new Map();
    for (const id of this.group()) {
      const verdict = this.marks.get(id) ?? "negative", note = this.notes.get(id) ?? "";
      const key = JSON.stringify([verdict, note]);
      if (!steps.has(key)) steps.set(key, { ids: [], verdict, note });
      steps.get(key).ids.push(id);
    }
    if (steps.size) this.decide([...steps.values()]);
  }

  undo() {
    const last = this.history.pop();
    this.local = "";
    if (!last) {
      this.act("undo", { asked: true });
      this.status();
      return;
    }
    for (const each of last.steps) this.act("undo", { who: last.who });
    const ids = last.steps.flatMap(each => each.ids);
    for (const { ids: some, verdict, note } of last.steps) {
      for (const id of some) {
        this.done.delete(id);
        if (note) this.notes.set(id, note);
        if (this.queries() && verdict !== "negative") this.marks.set(id, verdict);
      }
    }
    this.back = [...ids, ...this.back.filter(id => !ids.includes(id))];
    this.order = [...ids.filter(id => !this.order.includes(id)), ...this.order];
    this.future.push(last);
    this.count(-ids.length);
    this.again(ids[0]);
  }

  redo() {
    const last = this.future.pop();
    this.local = "";
    if (!last) {
      this.act("redo", { asked: true });
      this.status();
      return;
    }
    for (const each of last.steps) this.act("redo", { who: last.who });
    const ids = last.steps.flatMap(each => each.ids);
    ids.forEach(id => { this.done.add(id); this.marks.delete(id); this.notes.delete(id); });
    this.history.push(last);
    this.count(ids.length);
    this.advance();
    this.paint();
  }

  discard() {
    if (!this.confirm) {
      this.confirm = true;
      this.status();
      return;
    }
    this.renew();
    for (const desk of Object.keys(this.left)) storage.drop(this.prefix + desk);
    Object.assign(this, { left: {}, confirm: false, queue: null });
    this.send();
  }

  renew() {  // a new desk; what this one has not saved is sent under its old id
    if (this.outbox.length) this.left[this.id] = this.outbox;
    Object.assign(this, { id: newId(), seq: 0, outbox: [], history: [], future: [] });
  }

  named(who) {
    this.who = who;
    storage.set(WHO, who);
    this.at(".name").hidden = true;
  }

  again(id) {  // show a decided pair once more, to change it
    this.root.classList.remove("listed");
    this.wanted = this.pairs.has(id) ? "" : id;
    if (this.wanted) this.flush();
    else {
      this.current = id;
      this.paint();
    }
  }

  // Hands

  listen() {
    const actions = {
      undo: () => this.undo(), redo: () => this.redo(), confirm: () => this.confirmAll(), note: () => this.note(true),
      keys: () => { this.at(".keys").hidden = !this.at(".keys").hidden; }, retry: () => this.send(), discard: () => this.discard(),
      name: () => this.naming(true), focus: () => {}, list: () => this.root.classList.toggle("listed"),
    };
    this.root.onclick = event => {
      const row = event.target.closest("li");
      if (row) {
        this.fresh = false;
        this.current = row.dataset.id;
        this.paint();
        return;
      }
      const button = event.target.closest("button[type=button]");
      if (!button) return;
      this.focus();
      if (button.dataset.pair) this.again(button.dataset.pair);
      else if (button.dataset.verdict) this.verdict(button.dataset.verdict);
      else actions[button.dataset.do]?.();
    };
    this.root.onkeydown = event => {
      if (event.target.tagName === "INPUT") {
        if (event.key === "Escape") {
          this.note(false);
          this.naming(false);
        }
        event.stopPropagation();
        return;
      }
      if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
      const key = event.key.toLowerCase();
      const pressed = event.target.closest("button, summary") && key === "enter";
      const does = KEYS[key] ? () => this.verdict(KEYS[key])
        : { z: actions.undo, y: actions.redo, n: actions.note, "?": actions.keys }[key] ?? (this.queries() && !pressed ? this.inQuery(key) : null);
      if (!does) return;
      event.preventDefault();
      event.stopPropagation();
      does();
    };
    this.at("form.name").onsubmit = event => {
      event.preventDefault();
      const who = event.target.elements.who.value.trim() || this.data.who;
      this.named(who);
      this.naming(false);
      this.flush();
    };
    this.at("form.note").onsubmit = event => {
      event.preventDefault();
      this.notes.set(this.current, event.target.elements.note.value.trim());
      this.note(false);
      this.paint();
    };
  }

  inQuery(key) {
    const rows = this.group(), here = rows.indexOf(this.current);
    if (key === "enter") return () => this.confirmAll();
    this.fresh = false;
    const to = { arrowdown: rows[here + 1], arrowup: rows[here - 1] }[key];
    if (key.startsWith("arrow") && (key.endsWith("down") || key.endsWith("up"))) return () => { if (to) { this.current = to; this.paint(); } };
    if (/^[1-9]$/.test(key) && rows[key - 1]) return () => { this.mark(rows[key - 1], "relevant"); this.current = rows[key - 1]; this.paint(); };
    return null;
  }

  note(open) {
    const form = this.at("form.note");
    if (open && !this.current) return;
    form.hidden = !open;
    if (open) {
      form.elements.note.value = this.notes.get(this.current) ?? this.pairs.get(this.current).note ?? "";
      form.elements.note.focus();
    } else this.focus();
  }

  naming(open) {
    const form = this.at("form.name");
    form.hidden = !open && Boolean(this.who);
    form.elements.who.value = this.who || this.data.who;
    if (open) form.elements.who.select();
    else this.focus();
    this.status();
  }

  // Drawing

  queries() { return this.data.mode === "query"; }

  view() { return JSON.stringify([this.data.mode, this.current, this.data.taken[this.current], this.queries() ? this.group() : 0]); }

  place() {  // the desk ends with the window
    const host = this.root.getBoundingClientRect();
    const scrolled = this.parent.host?.closest("[data-testid=stMain]")?.scrollTop ?? 0;
    this.root.style.setProperty("--top", `${Math.round(host.top + scrolled)}px`);
  }

  paint() {
    const pair = this.pairs.get(this.current);
    this.drawn = this.view();
    this.root.classList.toggle("queries", this.queries());
    this.at(".pair").hidden = this.at(".facts").hidden = !pair;
    this.at(".end").hidden = Boolean(pair);
    this.at("form.note").hidden = true;
    if (pair) this.draw(pair);
    for (const button of this.parent.querySelectorAll(".buttons [data-verdict], .confirm, [data-do=note]")) button.disabled = !pair;
    this.status();
  }

  draw(pair) {
    const note = this.notes.get(pair.id);
    const now = this.done.has(pair.id) ? "" : pair.verdict;
    const line = this.at(".facts .line");
    line.textContent = line.title = [pair.facts, now && `now: ${now}`, note && `note: ${note}`].filter(Boolean).join(" · ");
    this.at(".scores ul").replaceChildren(...pair.scores.map(text => Object.assign(document.createElement("li"), { textContent: text })));
    write(this.at(".query"), pair.query);
    this.at(".positives").replaceChildren(...pair.positives.flatMap(each => {
      const title = Object.assign(document.createElement("h3"), { textContent: each.title });
      const text = Object.assign(document.createElement("p"), { dir: "auto" });
      write(text, each.text);
      return [title, text];
    }));
    for (const box of this.parent.querySelectorAll("section")) if (!this.queries() || box.className === "given") box.scrollTop = 0;
    if (this.queries()) this.drawRows();
    else write(this.at(".candidate"), pair.candidate);
    const text = parts => parts.join("").slice(0, 300);
    this.at(".live").textContent = `Query: ${text(pair.query)} Candidate: ${text(pair.candidate)}`;
    this.at(".title").textContent = this.queries() ? "Negatives of this query" : "Candidate";
  }

  drawRecent() {
    const unsaved = this.decisions().reverse().flatMap(
      each => each.pairs.map(id => ({ id, verdict: each.verdict, text: this.pairs.get(id) ? this.pairs.get(id).query.join("") : "" })));
    const found = [...unsaved, ...this.data.recent].slice(0, 20), seen = JSON.stringify(found);
    if (seen === this.seen) return;
    this.seen = seen;
    this.at(".last").replaceChildren(...found.map(({ id, verdict, text, judge }) => {
      const row = document.createElement("div"), button = Object.assign(document.createElement("button"), { type: "button", dir: "auto" });
      button.dataset.pair = id;
      button.append(Object.assign(document.createElement("b"), { textContent: `${verdict} ` }));
      if (judge) button.append(Object.assign(document.createElement("i"), { textContent: `${judge} ` }));
      button.append(text.replace(CONTROL, "\ufffd").slice(0, 120));
      row.append(button);
      return row;
    }));
  }

  drawRows() {
    const rows = this.group();
    this.at(".rows").replaceChildren(...rows.map((id, number) => {
      const row = document.createElement("li"), text = Object.assign(document.createElement("p"), { dir: "auto" });
      row.dataset.id = id;
      row.classList.toggle("here", id === this.current);
      if (id === this.current) row.setAttribute("aria-current", "true");
      write(text, this.pairs.get(id).candidate);
      const mark = this.marks.get(id);
      row.append(
        Object.assign(document.createElement("span"), { className: "number", textContent: number + 1 }),
        Object.assign(document.createElement("span"), { className: "mark", textContent: mark ? NAMES[mark] : "" }), text,
      );
      return row;
    }));
    this.at(".rows .here")?.scrollIntoView({ block: "nearest" });
  }

  status() {
    const { data } = this, unsaved = this.unsaved(), saved = this.at(".saved");
    const coming = data.desk !== this.id || unsaved || this.inFlight;
    if (!this.pairs.get(this.current)) this.at(".end").textContent = coming ? "Loading the next pairs ..." : data.end;
    const open = this.decisions().reduce((sum, each) => sum + each.pairs.length, 0);
    const reviewed = Math.min(data.total, data.done + open);
    if (data.desk) this.at(".progress").textContent = `${reviewed.toLocaleString("en")} of ${data.total.toLocaleString("en")} ${data.what} reviewed`;
    const since = Date.now() - PACE;
    this.times = this.times.filter(each => each > since);
    const minutes = this.times.length > 2 ? Math.max(0.5, (Date.now() - this.times[0]) / 60_000) : 0;
    this.at(".pace").textContent = minutes ? `${Math.round(this.times.length / minutes)} a minute` : "";
    this.at(".goal").textContent = data.goal;
    if (data.desk) this.drawRecent();
    this.confirm &&= Boolean(unsaved);
    saved.textContent = unsaved ? `${unsaved.toLocaleString("en")} unsaved` : this.decided || data.desk ? "All saved" : "";
    saved.classList.toggle("unsaved", Boolean(unsaved));
    this.at(".who").hidden = !this.at(".name").hidden;
    this.at(".who").textContent = this.who || data.who || "Reviewer";
    this.at(".who").disabled = data.fixed;
    this.at(".who").setAttribute("aria-label", `Reviewer: ${this.who || data.who}.${data.fixed ? "" : " Change the name."}`);
    const failure = this.at(".failure");
    const problem = data.error || (this.kept ? "" : "This browser cannot keep more unsaved decisions. Do not close the page until all are saved.");
    failure.hidden = !problem;
    this.at(".failure span").textContent = unsaved ? `${unsaved} not saved: ${problem}` : problem;
    this.at("[data-do=discard]").hidden = !unsaved;
    this.at("[data-do=discard]").textContent = this.confirm ? `Discard ${unsaved} for good` : "Discard";
    const judge = this.at(".judge"), said = this.pairs.get(this.current) && (this.pairs.get(this.current).judge || data.judged[this.current]);
    judge.textContent = judge.title = said ? said.replace(CONTROL, "\ufffd") : "";
    judge.hidden = !said;
    const taken = data.taken[this.current], message = this.at(".message");
    message.textContent = taken || this.local;
    message.hidden = !message.textContent;
    message.classList.toggle("warn", Boolean(taken));
    const who = this.at(".name input");
    if (!this.at(".name").hidden && this.parent.activeElement !== who) who.value = this.who || data.who;
  }
}

const desks = new WeakMap();

export default function ({ data, parentElement, setStateValue }) {
  let desk = desks.get(parentElement);
  if (!desk || desk.prefix !== `hnmine-desk/${data.workspace}/`) {
    desk?.close();
    desk = new Desk(parentElement, data);
    desks.set(parentElement, desk);
  }
  desk.receive(data, setStateValue);
  desk.place();
  return () => {
    desks.get(parentElement)?.close();
    desks.delete(parentElement);
  };
}
