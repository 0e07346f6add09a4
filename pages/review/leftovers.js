// Sends what desks of this browser left unsaved (`desk.js` keeps it in localStorage), once for each content, and forgets what the server has.
const sent = new WeakMap();

export default function ({ data, parentElement, setStateValue }) {
  const prefix = `hnmine-desk/${data.workspace}/`, boxes = [];
  try {
    for (const key of Object.keys(localStorage).filter(each => each.startsWith(prefix))) {
      const desk = key.slice(prefix.length), last = data.recorded[desk] ?? 0;
      const actions = JSON.parse(localStorage.getItem(key)).filter(each => each.seq > last);
      if (actions.length) boxes.push({ desk, actions });
      else localStorage.removeItem(key);
    }
  } catch { return; }  // there is no storage, or something in it is not ours
  const all = JSON.stringify(boxes);
  if (boxes.length && sent.get(parentElement) !== all) {
    sent.set(parentElement, all);
    setStateValue("sent", boxes);
  }
}
