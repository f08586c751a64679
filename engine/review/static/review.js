// The review page: people judge images with the keyboard, and no decision is lost.
//
// One module, three hosts: the review server, a static export opened from disk, and the same export
// inside a notebook. They differ in the transport only. Whatever models or people wrote reaches the
// page through textContent and value, never as markup.

// ── small tools ─────────────────────────────────────────────────────────────

const $ = (selector, from = document) => from.querySelector(selector);

/** An element with properties and children; strings become text. */
function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Text that somebody else wrote: in its own direction, unable to reorder what is around it. */
const said = (text, tag = "span", properties = {}, ...more) => {
  const element = h(tag, properties, String(text), ...more);
  element.classList.add("said");
  element.dir = "auto";
  return element;
};

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const percent = (share) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(share < 0.1 || share > 0.9 ? 1 : 0)} %`);
const two = (value) => (value === null || value === undefined ? "–" : value.toFixed(2).replace(/^-(0\.00)$/, "$1"));
const plain = (name) => String(name).replaceAll("_", " ");
const themeName = (theme) => (theme ? plain(theme) : "no theme");

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** localStorage where there is one; a sandboxed frame has none, and the page must work there too. */
const memory = (() => {
  const held = new Map();
  let disk = null;
  try {
    disk = window.localStorage;
    disk.setItem("groundswell", "1");
  } catch {
    disk = null;
  }
  return {
    lasting: disk !== null,
    get(name, fallback = null) {
      const text = disk ? disk.getItem(name) : held.get(name);
      if (text === null || text === undefined) return fallback;
      try {
        return JSON.parse(text);
      } catch {
        return fallback;
      }
    },
    set(name, value) {
      const text = JSON.stringify(value);
      if (disk) disk.setItem(name, text);
      else held.set(name, text);
    },
    remove(name) {
      if (disk) disk.removeItem(name);
      held.delete(name);
    },
    names(prefix) {
      const all = disk ? Object.keys(disk) : [...held.keys()];
      return all.filter((name) => name.startsWith(prefix)).sort();
    },
  };
})();

// ── transports ──────────────────────────────────────────────────────────────

class Trouble extends Error {
  constructor(message, status) {
    super(message);
    this.status = status; // 0: the server does not answer
  }
}

/** The review server. A decision is on its disk when decide() resolves. */
class ServerTransport {
  keepsDecisions = true;

  async #ask(path, body) {
    const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    let response, text;
    try {
      response = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
      text = await response.text();
    } catch {
      // An answer that broke off is no answer: what was asked may or may not have been done.
      throw new Trouble("The review server does not answer.", 0);
    }
    if (response.ok) return JSON.parse(text);
    let message = text.trim() || `The server answered ${response.status}.`;
    try {
      message = JSON.parse(text).error;
    } catch {
      /* plain text */
    }
    throw new Trouble(message, response.status);
  }

  #who = () => `reviewer=${encodeURIComponent(state.reviewer)}`;
  session = () => this.#ask("/api/session");
  queue = (filter) => this.#ask("/api/queue", { reviewer: state.reviewer, filter });
  page = (queue, offset, limit) => this.#ask(`/api/queue/${queue}?offset=${offset}&limit=${limit}&${this.#who()}`);
  open = (queue, after) => this.#ask(`/api/queue/${queue}/open?after=${after}&${this.#who()}`);
  shown = (id) => this.#ask(`/api/images/${encodeURIComponent(id)}?${this.#who()}`);
  decide = (judged) => this.#ask("/api/decisions", judged);
  last = () => this.#ask(`/api/last?${this.#who()}`);
  summary = () => this.#ask(`/api/summary?${this.#who()}`);
  picture = (id, version, size) => `/image/${encodeURIComponent(id)}?v=${version}${size ? `&size=${size}` : ""}`;
}

/** Data that came with the page; decisions stay in this browser until they are downloaded. */
class StaticTransport {
  keepsDecisions = false;
  #queues = new Map();
  #live = new Map();
  #lines = [];

  constructor(data) {
    this.data = data;
    this.images = new Map(data.images.map((image) => [image.id, image]));
    this.prefix = `groundswell:${data.session.run}:decision:`;
    for (const name of memory.names(this.prefix)) this.#take(memory.get(name));
  }

  #take(decision) {
    this.#lines.push(decision);
    const key = `${decision.reviewer}\n${decision.image_id}`;
    const stack = this.#live.get(key) ?? [];
    if (decision.status === "undo") this.#live.set(key, stack.filter((one) => one.id !== decision.undoes));
    else this.#live.set(key, [...stack, decision]);
  }

  #mine(id) {
    const sha256 = this.images.get(id)?.asset.sha256;
    return this.#live.get(`${state.reviewer}\n${id}`)?.findLast((one) => one.sha256 === sha256) ?? null;
  }

  #card = (image) => ({ id: image.id, index: image.index, theme: image.theme, version: image.version, mine: this.#mine(image.id)?.status ?? null, flagged: flagged(image) });

  async session() {
    return this.data.session;
  }

  async queue(filter) {
    const passes = (image) =>
      (filter.draw !== "flagged" || flagged(image)) &&
      (!filter.theme || image.theme === filter.theme) &&
      (!filter.category || words(image.labels?.[filter.category]).includes(filter.label)) &&
      (!filter.finding || image.findings.some((finding) => finding.check === filter.finding)) &&
      (!filter.decision || this.#fits(this.#mine(image.id)?.status, filter.decision));
    const found = this.data.images.filter(passes);
    const queue = newId();
    this.#queues.set(queue, found);
    const narrowed = filter.theme || filter.category || filter.finding || (filter.decision && filter.decision !== "undecided");
    const decided = found.filter((image) => this.#mine(image.id)).length;
    const start = Math.max(0, found.findIndex((image) => !this.#mine(image.id)));
    const drawn = narrowed || filter.draw === "flagged" ? "filter" : this.data.session.drawn;
    return { queue, drawn, total: found.length, decided, start, cards: found.slice(start, start + 100).map(this.#card) };
  }

  #fits = (status, wanted) => (wanted === "undecided" ? !status : wanted === "decided" ? Boolean(status) : status === wanted);

  async page(queue, offset, limit) {
    return this.#queues.get(queue).slice(offset, offset + limit).map(this.#card);
  }

  async open(queue, after) {
    const found = this.#queues.get(queue);
    for (let step = 1; step <= found.length; step++) {
      const place = (after + step) % found.length;
      if (!this.#mine(found[place].id)) return place;
    }
    return null;
  }

  async shown(id) {
    const image = this.images.get(id);
    if (!image) throw new Trouble(`This page has no image ${id}.`, 404);
    return { ...image, duplicates: image.duplicates.map((twin) => (this.images.has(twin.id) ? this.#card(this.images.get(twin.id)) : twin)), mine: this.#mine(id), others: [] };
  }

  async decide(judged) {
    const image = this.images.get(judged.image_id);
    const decision = {
      v: 1, job: image.job, status: judged.status, stage: "review", image_id: image.id, index: image.index, id: judged.id, undoes: judged.undoes ?? null,
      reviewer: judged.reviewer, generated_at: new Date().toISOString(), ms: judged.ms ?? 0, drawn: judged.drawn ?? "all", blind: true, sha256: image.asset.sha256,
      answers: judged.answers ?? {}, tags: judged.tags ?? [], corrections: judged.corrections ?? null, notes: judged.notes ?? "",
    };
    try {
      memory.set(this.prefix + String(this.#lines.length).padStart(7, "0"), decision);
    } catch {
      throw new Trouble("This browser has no room for more decisions. Download them now, then go on.", 507);
    }
    this.#take(decision);
    return decision;
  }

  async last() {
    const live = new Set([...this.#live.values()].flat().map((one) => one.id));
    return this.#lines.findLast((one) => one.reviewer === state.reviewer && one.status !== "undo" && live.has(one.id)) ?? null;
  }

  async summary() {
    return null;
  }

  lines = () => this.#lines.map((line) => JSON.stringify(line) + "\n").join("");
  picture = (id, version, size) => {
    const files = this.data.pictures[id] ?? {};
    return (size ? files.small : files.large) ?? files.large ?? files.small ?? "";
  };
}

const flagged = (image) => image.duplicates.length > 0 || image.findings.some((finding) => finding.severity !== "info");

const words = (value) => (value === null || value === undefined ? [] : Array.isArray(value) ? value.flatMap(words) : typeof value === "boolean" ? [value ? "yes" : "no"] : [String(value)]);

// ── state ───────────────────────────────────────────────────────────────────

const embedded = $("#run-data");
const transport = embedded ? new StaticTransport(JSON.parse(embedded.textContent)) : new ServerTransport();

const state = {
  session: null,
  reviewer: "reviewer",
  filter: { draw: "sample" },
  queue: null, // {queue, total, decided, drawn}
  cards: new Map(), // place → card
  place: 0,
  shown: null,
  draft: null,
  view: "one",
  times: [], // milliseconds of the latest decisions
  clock: { since: 0, spent: 0 },
  selected: new Set(),
  gridAt: 0,
  focused: 0,
  notice: null,
};

const PRELOADED_IMAGES = 3;
const CACHED_IMAGES = 16;
const PAGE_CARDS = 100;
const GRID_CELLS = 60;
const DRAFTS_KEPT = 50;
const KEYS_WAITING_MAX = 8;
const KEY_WAIT_MS = 600;
const GRADES = ["good", "fair", "poor"];
const MARKS = { accept: "✓", unsure: "?", reject: "✕" };
const SAID = { accept: "Accepted", reject: "Rejected", unsure: "Unsure about" };

// ── keys ────────────────────────────────────────────────────────────────────

const ACTIONS = {
  accept: ["Accept", ["a"]],
  reject: ["Reject", ["r"]],
  unsure: ["Unsure", ["u"]],
  undo: ["Undo the last decision", ["z", "Backspace"]],
  next: ["Next image", ["ArrowRight", "l"]],
  previous: ["Previous image", ["ArrowLeft", "h"]],
  nextOpen: ["Next undecided image", ["o"]],
  question1: ["Image quality", ["1"]],
  question2: ["Relevance to the theme", ["2"]],
  question3: ["Caption accuracy", ["3"]],
  question4: ["Label appropriateness", ["4"]],
  question5: ["Comment realism", ["5"]],
  tag1: ["First tag; Shift+2 … 8 the others", ["Shift+1"]],
  tag2: [null, ["Shift+2"]],
  tag3: [null, ["Shift+3"]],
  tag4: [null, ["Shift+4"]],
  tag5: [null, ["Shift+5"]],
  tag6: [null, ["Shift+6"]],
  tag7: [null, ["Shift+7"]],
  tag8: [null, ["Shift+8"]],
  editCaption: ["Correct the caption", ["e"]],
  editLabels: ["Correct the labels", ["b"]],
  notes: ["Write a note", ["n"]],
  compare: ["Compare near-duplicates", ["c"]],
  zoomIn: ["Zoom in", ["+", "="]],
  zoomOut: ["Zoom out", ["-"]],
  zoomFit: ["Fit to the window", ["0"]],
  zoomFull: ["Actual pixels and back", ["Space"]],
  panLeft: ["Move the picture", ["Shift+ArrowLeft"]],
  panRight: [null, ["Shift+ArrowRight"]],
  panUp: [null, ["Shift+ArrowUp"]],
  panDown: [null, ["Shift+ArrowDown"]],
  scrollDown: ["Scroll the texts down", ["j", "PageDown"]],
  scrollUp: ["Scroll the texts up", ["k", "PageUp"]],
  grid: ["Grid and back", ["g"]],
  filter: ["What to review", ["f"]],
  summary: ["Summary and agreement", ["s"]],
  download: ["Download decisions", ["d"]],
  theme: ["Light, dark, as the system", ["t"]],
  who: ["Reviewer", ["w"]],
  help: ["Help and keys", ["?"]],
};

const keys = {
  bound: {},
  off: false,
  load() {
    const own = memory.get("groundswell:keys", {});
    for (const [action, [, defaults]] of Object.entries(ACTIONS)) this.bound[action] = Array.isArray(own[action]) ? own[action] : defaults;
    this.off = memory.get("groundswell:keys-off", false);
  },
  bind(action, chord) {
    for (const other of Object.keys(this.bound)) this.bound[other] = this.bound[other].filter((one) => one !== chord);
    this.bound[action] = [chord];
    memory.set("groundswell:keys", this.bound);
  },
  reset() {
    memory.remove("groundswell:keys");
    this.load();
  },
  actionOf: (chord) => Object.keys(keys.bound).find((action) => keys.bound[action].includes(chord)),
  first: (action) => (keys.off ? undefined : keys.bound[action]?.[0]),
};

/** What was pressed, independent of the layout for digits, of the language for letters. */
function chordOf(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return null;
  if (/^Digit\d$/.test(event.code)) {
    // By place, not by sign: a French digit row writes digits only with Shift.
    const chord = `${event.shiftKey ? "Shift+" : ""}${event.code.slice(5)}`;
    if (keys.capture || keys.actionOf(chord) || !keys.actionOf(event.key)) return chord;
    return event.key;
  }
  if (event.key === " ") return "Space";
  if (event.key.length === 1) return event.key.toLowerCase();
  return event.shiftKey ? `Shift+${event.key}` : event.key;
}

const KEY_SIGNS = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Backspace: "⌫", "Shift+ArrowLeft": "⇧←↑↓→" };
const keySign = (chord) => KEY_SIGNS[chord] ?? (chord.length === 1 ? chord.toUpperCase() : chord.replace("Shift+", "⇧"));
const keyHint = (action) => (keys.first(action) ? h("kbd", { ariaHidden: "true" }, keySign(keys.first(action))) : null);

/** Keys pressed while a decision is being written wait for it, for a moment. */
const waiting = [];
let busy = null;

async function perform(action, what) {
  if (busy) {
    if (waiting.length < KEYS_WAITING_MAX) waiting.push([action, what, performance.now()]);
    return;
  }
  busy = (async () => ACT[action]?.(what))().catch((error) => {
    waiting.length = 0; // they were meant for what would have followed
    complain(error);
  });
  await busy;
  busy = null;
  while (waiting.length && !busy) {
    const [next, given, pressed] = waiting.shift();
    if (performance.now() - pressed < KEY_WAIT_MS) await perform(next, given);
  }
}

document.addEventListener("keydown", (event) => {
  if (keys.capture) return keys.capture(event);
  const target = event.target;
  const typing = target.matches?.("input, textarea, select");
  if (event.key === "Escape" && typing) {
    event.preventDefault();
    return leaveField(target);
  }
  if (typing || event.isComposing) return;
  const dialog = $("dialog[open]");
  if (dialog && dialog.id !== "compare") return;
  if (dialog && comparing && comparing(keys.actionOf(chordOf(event)))) return event.preventDefault();
  const pressable = target.closest?.("button, a, summary");
  if (pressable && (event.key === "Enter" || (event.key === " " && !target.matches(".cell")))) return;
  const chord = chordOf(event);
  if (chord === null || (keys.off && chord.length === 1)) return;
  if (state.view === "grid" && !dialog && gridKey(chord)) return event.preventDefault();
  const action = keys.actionOf(chord);
  if (!action) return;
  if (event.repeat && !/^(next|previous|pan|zoom|scroll)/.test(action)) return event.preventDefault();
  if (dialog && !["accept", "reject", "unsure", "compare"].includes(action)) return;
  event.preventDefault();
  perform(action, event);
});

function leaveField(field) {
  field.blur();
  $("#frame").focus({ preventScroll: true });
}

// ── words to the reviewer ───────────────────────────────────────────────────

function tell(text) {
  $("#live").textContent = text;
}

/** Trouble, until it is over; then what has to be known all the time, if anything. */
function banner(text, calm = false) {
  const box = $("#banner");
  box.hidden = !(text || state.notice);
  box.classList.toggle("calm", calm || !text);
  box.textContent = text ?? state.notice ?? "";
}

function complain(error) {
  console.error(error);
  if (error.status === 401) banner("This link is no longer valid. Open the link that `groundswell review` printed.");
  else if (error.status === 0) banner("The review server does not answer. Start `groundswell review` again and open its link; nothing that was saved is lost.");
  else banner(error.message);
}

// ── the queue ───────────────────────────────────────────────────────────────

async function openQueue(filter) {
  const clean = Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  const queue = await transport.queue(clean);
  state.filter = clean;
  state.queue = queue;
  state.cards = new Map(queue.cards.map((card, i) => [queue.start + i, card]));
  state.place = queue.start;
  state.focused = queue.start;
  state.selected.clear();
  memory.set(`groundswell:${state.session.run}:filter`, clean);
  cache.clear();
  $("#done").hidden = true;
}

async function cardAt(place) {
  if (place < 0 || place >= state.queue.total) return null;
  if (!state.cards.has(place)) await loadPage(place);
  return state.cards.get(place) ?? null;
}

async function loadPage(place) {
  const offset = Math.floor(place / PAGE_CARDS) * PAGE_CARDS;
  let cards;
  try {
    cards = await transport.page(state.queue.queue, offset, PAGE_CARDS);
  } catch (error) {
    if (error.status !== 410) throw error;
    // The server forgot this snapshot (it was restarted, or many were made since): ask anew.
    const at = state.place;
    const fresh = await transport.queue(state.filter);
    Object.assign(state.queue, fresh);
    state.cards.clear();
    state.place = Math.min(at, Math.max(0, fresh.total - 1));
    cards = await transport.page(fresh.queue, offset, PAGE_CARDS);
  }
  cards.forEach((card, i) => state.cards.set(offset + i, card));
}

/** The next undecided place after this one, going round once; null when all are decided. */
async function nextOpen(from) {
  const card = await cardAt(from + 1);
  if (card && !card.mine) return from + 1;
  return transport.open(state.queue.queue, from);
}

/** What the next images need, fetched and decoded before they are asked for. */
const cache = {
  held: new Map(),
  get(card) {
    const key = `${card.id} ${card.version}`;
    let entry = this.held.get(key);
    if (entry) this.held.delete(key);
    else {
      const image = new Image();
      image.alt = "";
      image.draggable = false;
      image.src = transport.picture(card.id, card.version);
      entry = { image, ready: image.decode().then(() => true, () => false), shown: transport.shown(card.id) };
      entry.shown.catch(() => this.held.delete(key));
    }
    this.held.set(key, entry);
    while (this.held.size > CACHED_IMAGES) this.held.delete(this.held.keys().next().value);
    return entry;
  },
  drop(id) {
    for (const [key, entry] of [...this.held]) {
      if (!key.startsWith(`${id} `)) continue;
      entry.shown = transport.shown(id);
      entry.shown.catch(() => this.held.delete(key));
    }
  },
  clear() {
    this.held.clear();
  },
};

async function preload() {
  let place = state.place;
  for (let i = 0; i < PRELOADED_IMAGES; i++) {
    const card = await cardAt(++place);
    if (card) cache.get(card);
  }
}

// ── one image ───────────────────────────────────────────────────────────────

let showing = 0;

async function show(place) {
  const turn = ++showing;
  await keepEdits();
  const card = await cardAt(place);
  if (!card) {
    state.shown = null;
    return nothing();
  }
  const entry = cache.get(card);
  const shown = await entry.shown;
  if (turn !== showing) return;
  state.place = place;
  state.focused = place;
  state.shown = shown;
  card.mine = shown.mine?.status ?? null;
  state.draft = drafts.get(shown) ?? draftOf(shown.mine);
  place_picture(entry, shown);
  panel();
  header();
  verdict();
  const began = performance.now();
  state.clock = { since: document.hidden ? 0 : began, spent: 0 };
  entry.ready.then((there) => {
    if (turn !== showing) return;
    if (!there) $("#frame").replaceChildren(h("p", { className: "gone" }, `The picture of ${shown.id} cannot be shown. It may be missing or damaged: run groundswell verify.`));
    document.documentElement.dataset.shown = shown.id;
  });
  preload();
}

function nothing() {
  $("#frame").replaceChildren(h("p", { className: "gone" }, "No image passes this filter. Press F and choose another."));
  $("#caption-line").replaceChildren();
  $("#panel").replaceChildren();
  header();
  verdict();
  tell("No image passes this filter.");
}

function draftOf(mine) {
  return {
    answers: { ...mine?.answers },
    tags: [...(mine?.tags ?? [])],
    caption: mine?.corrections?.caption ?? null,
    labels: { ...mine?.corrections?.labels },
    notes: mine?.notes ?? "",
  };
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const edited = () => state.shown && !same(state.draft, draftOf(state.shown.mine));

/** Answers, tags and notes of images that are not decided yet survive a closed browser. */
const drafts = {
  name: () => `groundswell:${state.session.run}:${state.reviewer}:drafts`,
  get: (shown) => memory.get(drafts.name(), {})[`${shown.id} ${shown.version}`],
  keep() {
    if (!state.shown) return;
    const all = memory.get(drafts.name(), {});
    const key = `${state.shown.id} ${state.shown.version}`;
    delete all[key];
    if (edited()) all[key] = state.draft;
    for (const old of Object.keys(all).slice(0, -DRAFTS_KEPT)) delete all[old];
    try {
      memory.set(drafts.name(), all);
    } catch {
      /* no room: the draft lives as long as the page */
    }
  },
};

function change(part) {
  Object.assign(state.draft, part);
  drafts.keep();
}

function timeSpent() {
  const { since, spent } = state.clock;
  return Math.round(spent + (since ? performance.now() - since : 0));
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) state.clock = { since: 0, spent: timeSpent() };
  else if (!state.clock.since) state.clock.since = performance.now();
});

// ── decisions ───────────────────────────────────────────────────────────────

function judgement(status, shown, draft) {
  const labels = Object.fromEntries(Object.entries(draft.labels).filter(([, value]) => value !== null));
  const corrected = draft.caption !== null || Object.keys(labels).length > 0;
  return {
    id: newId(), status, image_id: shown.id, reviewer: state.reviewer, ms: timeSpent(), drawn: state.queue.drawn, version: shown.version,
    answers: draft.answers, tags: draft.tags, corrections: corrected ? { caption: draft.caption, labels } : null, notes: draft.notes,
  };
}

/** Send until it is on disk. The outbox outlives this page; the server counts an id once. */
async function send(judged) {
  const name = `groundswell:${state.session.run}:outbox:${judged.id}`;
  if (transport.keepsDecisions) memory.set(name, judged);
  for (let tries = 0; ; tries++) {
    try {
      const decision = await transport.decide(judged);
      memory.remove(name);
      if (tries) banner(null);
      return decision;
    } catch (error) {
      if (error.status !== 0) {
        // The server said no: this decision will not be taken later behind the reviewer's back.
        if (error.status !== 401) memory.remove(name);
        throw error;
      }
      banner("The review server does not answer. Your last decision is kept in this browser and sent as soon as it is back.");
      await wait(Math.min(400 * 1.5 ** tries, 3000));
    }
  }
}

async function sendOutbox() {
  if (!transport.keepsDecisions) return;
  for (const name of memory.names(`groundswell:${state.session.run}:outbox:`)) {
    try {
      await transport.decide(memory.get(name));
    } catch (error) {
      if (error.status === 0 || error.status === 401) return;
    }
    memory.remove(name);
  }
}

async function decide(status) {
  if (!state.shown) return;
  const shown = state.shown;
  if (shown.mine?.status !== status || edited()) await write(status, shown);
  if ($("#compare").open) $("#compare").close();
  const next = await nextOpen(state.place);
  if (next === null) return finished();
  await show(next);
  tell(`${SAID[status]} image ${shown.index}. ${state.queue.decided} of ${state.queue.total}. Now image ${state.shown.index}, ${themeName(state.shown.theme)}.`);
}

async function write(status, shown) {
  const judged = judgement(status, shown, state.draft);
  const decision = await send(judged);
  banner(null);
  const first = !shown.mine;
  shown.mine = { ...decision };
  settle(shown.id, status, first ? 1 : 0);
  drafts.keep();
  cache.drop(shown.id);
  if (first) state.times = [...state.times.slice(-29), judged.ms];
  if (state.times.length % 10 === 0) refreshAgreement();
  return decision;
}

function settle(id, status, more) {
  for (const card of state.cards.values()) if (card.id === id) card.mine = status;
  state.queue.decided += more;
  header();
}

/** Changes to a decided image are kept when one goes on, without asking. */
async function keepEdits() {
  if (state.shown?.mine && edited()) await write(state.shown.mine.status, state.shown);
}

async function undo() {
  const last = await transport.last();
  if (!last) return tell("Nothing to undo.");
  await send({ id: newId(), status: "undo", image_id: last.image_id, reviewer: state.reviewer, undoes: last.id });
  cache.drop(last.image_id);
  $("#done").hidden = true;
  const here = [...state.cards].find(([, card]) => card.id === last.image_id);
  if (here) {
    here[1].mine = null;
    state.queue.decided = Math.max(0, state.queue.decided - 1);
  }
  // What was answered is not lost with the decision: it comes back as a draft.
  const shown = await transport.shown(last.image_id);
  if (shown.mine && here) {
    here[1].mine = shown.mine.status;
    state.queue.decided += 1;
  }
  const all = memory.get(drafts.name(), {});
  all[`${shown.id} ${shown.version}`] = draftOf(last);
  memory.set(drafts.name(), all);
  state.shown = null;
  header();
  if (state.view === "grid") await grid();
  else if (here) await show(here[0]);
  else await show(state.place);
  tell(`Took back ${last.status} of image ${last.index}.`);
  if (!here) banner(`Took back “${last.status}” of ${last.image_id}, which is not in this queue.`, true);
}

function finished() {
  const box = $("#done");
  box.replaceChildren(h("div", {},
    h("span", {}, `All ${state.queue.total} images decided.`),
    h("button", { type: "button", on: { click: () => perform("summary") } }, "Summary"),
    h("button", { type: "button", on: { click: () => perform("filter") } }, "Review others"),
    transport.keepsDecisions ? null : h("button", { type: "button", on: { click: () => perform("download") } }, "Download decisions"),
  ));
  box.hidden = false;
  panel();
  verdict();
  header();
  tell(`All ${state.queue.total} images decided.`);
}

// ── header and verdict ──────────────────────────────────────────────────────

const DRAWS = { sample: "Sample", flagged: "Flagged", all: "All images" };

function queueName() {
  const { draw, theme, category, label, finding, reviewer, decision } = state.filter;
  const parts = [DRAWS[draw ?? "sample"]];
  if (theme) parts.push(themeName(theme));
  if (category) parts.push(`${plain(category)}: ${label}`);
  if (finding) parts.push(plain(finding));
  if (decision) parts.push(decision);
  if (reviewer) parts.push(`by ${reviewer}`);
  return parts.join(" · ");
}

function header() {
  const { decided = 0, total = 0 } = state.queue ?? {};
  $("#queue-name").textContent = queueName();
  $("#count").textContent = `${decided.toLocaleString("en")} of ${total.toLocaleString("en")}`;
  const bar = $("#bar");
  bar.setAttribute("aria-valuemax", total);
  bar.setAttribute("aria-valuenow", decided);
  bar.firstElementChild.style.width = `${total ? (100 * decided) / total : 0}%`;
  const middle = median(state.times);
  const left = total - decided;
  $("#pace").textContent = middle === null ? "" : `${(middle / 1000).toFixed(1)} s each${left > 0 ? ` · ${duration(left * middle)} left` : ""}`;
  $("#who").textContent = state.reviewer;
}

function median(values) {
  if (values.length < 3) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

function duration(ms) {
  const minutes = ms / 60000;
  return minutes < 1 ? "under a minute" : minutes < 90 ? `${Math.round(minutes)} min` : `${(minutes / 60).toFixed(1)} h`;
}

/** The figure in the header. Asked for the more seldom the longer the server counts for it. */
async function refreshAgreement() {
  const began = performance.now();
  if (began < refreshAgreement.notBefore) return;
  try {
    const summary = await transport.summary();
    refreshAgreement.notBefore = performance.now() + 50 * (performance.now() - began);
    const agreed = summary?.agreement;
    $("#agreement").textContent = agreed?.images ? `agreement α ${two(agreed.alpha)} on ${agreed.images}` : "";
  } catch {
    /* a figure of comfort; the next decision says what is wrong */
  }
}

function verdict() {
  const mine = state.shown?.mine?.status;
  for (const status of ["accept", "unsure", "reject"]) {
    const button = $(`#verdict .${status}`);
    button.setAttribute("aria-pressed", String(mine === status));
    button.disabled = !state.shown;
    const [name] = ACTIONS[status];
    button.replaceChildren(h("span", { ariaHidden: "true" }, MARKS[status]), h("span", {}, name), keyHint(status) ?? "");
    setKeys(button, status);
  }
  const back = $("#verdict .undo");
  back.replaceChildren(h("span", { ariaHidden: "true", className: "sign" }, "↶"), h("span", { className: "word" }, "Undo"), keyHint("undo") ?? "");
  setKeys(back, "undo");
}

const setKeys = (element, action) => element.setAttribute("aria-keyshortcuts", keys.off ? "" : (keys.bound[action] ?? []).join(" "));

// ── the panel ───────────────────────────────────────────────────────────────

function panel() {
  const { shown } = state;
  const box = $("#panel");
  box.replaceChildren(...[questions(), tags(), findings(), twins(), others(shown), prompt(shown), caption(shown), labels(shown), comments(shown), notes(), sources(shown), details(shown)].filter(Boolean));
  box.scrollTop = 0;
  window.scrollTo(0, 0); // narrow screens scroll the page, not the panel
}

const section = (name, hint, ...children) => h("section", { ariaLabel: name }, h("h2", {}, name, hint ? h("span", { className: "hint" }, hint) : null), ...children);

function questions() {
  const rows = Object.entries(state.session.questions).map(([question, text], i) =>
    h("div", { className: "question", role: "group", ariaLabel: text },
      keyHint(`question${i + 1}`) ?? h("span"),
      h("span", {}, text),
      h("span", { className: "choice" }, GRADES.map((grade) =>
        h("button", { type: "button", className: grade, "aria-pressed": String(state.draft.answers[question] === grade), on: { click: () => answer(question, grade) } }, grade))),
    ));
  return h("section", { ariaLabel: "Questions", id: "questions" }, rows);
}

function answer(question, grade) {
  const answers = { ...state.draft.answers };
  if (grade === undefined || answers[question] === grade) delete answers[question];
  else answers[question] = grade;
  change({ answers });
  $("#questions").replaceWith(questions());
  tell(`${state.session.questions[question]}: ${answers[question] ?? "not answered"}.`);
}

/** Each press goes on: good, fair, poor, no answer. */
function cycle(number) {
  const question = Object.keys(state.session.questions)[number - 1];
  const at = GRADES.indexOf(state.draft.answers[question]);
  answer(question, GRADES[at + 1]);
}

function tags() {
  const known = [...new Set([...state.session.tags, ...state.draft.tags])];
  const own = h("input", { type: "text", maxLength: 64, placeholder: "other …", ariaLabel: "Add a tag of your own", on: { keydown: (event) => event.key === "Enter" && event.target.value.trim() && tag(event.target.value.trim()) } });
  return h("section", { ariaLabel: "What is wrong", id: "tags" }, h("h2", {}, "What is wrong"),
    h("div", { className: "chips" }, known.map((name, i) =>
      said(name, "button", { type: "button", "aria-pressed": String(state.draft.tags.includes(name)), on: { click: () => tag(name) } }, i < 8 ? keyHint(`tag${i + 1}`) : null)), own));
}

function tag(name) {
  const held = state.draft.tags;
  const next = held.includes(name) ? held.filter((one) => one !== name) : [...held, name].slice(0, 32);
  change({ tags: next });
  $("#tags").replaceWith(tags());
  tell(`${name}: ${next.includes(name) ? "set" : "cleared"}.`);
}

function findings() {
  const found = state.shown.findings;
  if (!found.length) return null;
  return section(`QA found ${found.length === 1 ? "one thing" : `${found.length} things`}`, null, found.map((finding) =>
    h("div", { className: `finding ${["warning", "error", "critical"].includes(finding.severity) ? finding.severity : ""}` }, said(finding.title, "b"), said(finding.message))));
}

function twins() {
  const found = state.shown.duplicates;
  if (!found.length) return null;
  return section("Near-duplicates", [keyHint("compare") ?? ""], h("div", { className: "twins" }, found.map((card, i) =>
    h("button", { type: "button", ariaLabel: `Compare with ${card.id}`, on: { click: () => compare(i) } },
      h("img", { src: transport.picture(card.id, card.version, 192), alt: "", loading: "lazy" }),
      h("span", {}, likeness(card), h("small", {}, card.mine ? `${MARKS[card.mine]} ${card.mine}` : `image ${card.index}`))))));
}

const likeness = (twin) => [{ file: "the same file", same: "looks the same", edited: "an edited copy" }[twin.kind] ?? twin.kind, twin.similarity_percent ? `${Math.round(twin.similarity_percent)} % alike` : ""].filter(Boolean).join(", ");

const SOURCES = { atropia: "News", demographics: "People", visual_reference: "Visual reference" };

function prompt(shown) {
  const known = Object.keys(SOURCES).filter((name) => shown.source_data[name]);
  return section("Prompt", themeName(shown.theme),
    h("p", { className: "prompt said", dir: "auto" }, traced(shown.prompt, shown.source_data)),
    known.length ? h("p", { className: "legend muted" }, known.map((name) => [h("mark", { className: name }, SOURCES[name]), " "])) : null);
}

function sources(shown) {
  const known = Object.keys(SOURCES).filter((name) => shown.source_data[name]);
  const further = Object.fromEntries(Object.entries(shown.source_data).filter(([name]) => !(name in SOURCES)));
  if (!Object.keys(shown.source_data).length) return null;
  return section("Sources of the prompt", null,
    known.map((name) => h("div", { className: `source ${name}` }, h("h3", {}, SOURCES[name]), pairs(shown.source_data[name]))),
    Object.keys(further).length ? h("div", { className: "source" }, h("h3", {}, known.length ? "Further columns" : "Columns"), pairs(further)) : null);
}

/** All texts in a value, with the names of where they stand. */
function* leaves(value, name = "") {
  if (Array.isArray(value)) {
    if (value.every((one) => typeof one !== "object")) yield [name, value.join(", ")];
    else for (const one of value) yield* leaves(one, name);
  } else if (value && typeof value === "object") {
    for (const [key, one] of Object.entries(value)) yield* leaves(one, name ? `${name} ${key}` : key);
  } else if (value !== null && value !== undefined && value !== "") yield [name, String(value)];
}

const pairs = (value) => h("dl", {}, [...leaves(value)].map(([name, text]) => [said(plain(name), "dt"), said(text, "dd")]));

/** Where these words stand as words of their own, not inside longer ones; -1 if nowhere. */
function wordAt(text, words) {
  const letter = /[\p{L}\p{N}]/u;
  for (let at = text.indexOf(words); at >= 0; at = text.indexOf(words, at + 1)) {
    if (!letter.test(text[at - 1] ?? " ") && !letter.test(text[at + words.length] ?? " ")) return at;
  }
  return -1;
}

/** The prompt with what came word for word from a source underlined in that source's way. */
function traced(text, sources) {
  const low = text.toLowerCase();
  const marks = [];
  for (const source of Object.keys(SOURCES)) {
    for (const [name, value] of leaves(sources[source])) {
      const words = plain(value).toLowerCase();
      if (words.length < 4 || words.length > 400 || /(^|[ _])(id|date|url|path|sha256)$/.test(name)) continue;
      const at = low.length === text.length ? wordAt(low, words) : -1;
      if (at >= 0) marks.push({ at, end: at + words.length, source });
    }
  }
  marks.sort((a, b) => a.at - b.at || b.end - a.end);
  const parts = [];
  let done = 0;
  for (const { at, end, source } of marks) {
    if (at < done) continue;
    parts.push(text.slice(done, at), h("mark", { className: source, title: SOURCES[source] }, text.slice(at, end)));
    done = end;
  }
  return [...parts, text.slice(done)];
}

function caption(shown) {
  if (shown.caption === null) return section("Caption", null, h("p", { className: "muted" }, "None written yet."));
  const field = h("textarea", { id: "caption", className: "caption", rows: 2, maxLength: 4000, dir: "auto", ariaLabel: "Caption; change it to correct it", value: state.draft.caption ?? shown.caption });
  const marked = () => field.classList.toggle("changed", field.value !== shown.caption);
  field.addEventListener("input", () => {
    change({ caption: field.value === shown.caption ? null : field.value });
    marked();
  });
  marked();
  const further = shown.captions.filter((one) => one !== shown.caption);
  return section("Caption", [keyHint("editCaption") ?? ""], field, further.map((one) => said(one, "p", { className: "muted" })));
}

function labels(shown) {
  if (!shown.labels || !Object.keys(shown.labels).length) return section("Labels", null, h("p", { className: "muted" }, "None written yet."));
  const rows = Object.entries(shown.labels).flatMap(([category, value]) => {
    const written = words(value).join(", ");
    const field = h("input", { type: "text", maxLength: 4000, dir: "auto", ariaLabel: `Label ${plain(category)}`, value: state.draft.labels[category] ?? written });
    const marked = () => field.classList.toggle("changed", field.value !== written);
    field.addEventListener("input", () => {
      const changed = { ...state.draft.labels };
      if (field.value === written) delete changed[category];
      else changed[category] = field.value;
      change({ labels: changed });
      marked();
    });
    marked();
    return h("div", {}, said(plain(category), "dt"), h("dd", {}, field));
  });
  return section("Labels", [keyHint("editLabels") ?? ""], h("dl", { className: "labels", id: "labels" }, rows));
}

function comments(shown) {
  if (!shown.comments?.length) return section("Comments", null, h("p", { className: "muted" }, "None written yet."));
  return section(`Comments`, String(shown.comments.length), h("ul", { className: "comments" }, shown.comments.map((one) => said(one, "li"))));
}

function notes() {
  const field = h("textarea", { id: "notes", rows: 2, maxLength: 4000, dir: "auto", ariaLabel: "Notes", value: state.draft.notes, on: { input: () => change({ notes: field.value }) } });
  return section("Notes", [keyHint("notes") ?? ""], field);
}

function others(shown) {
  if (!shown.others.length) return null;
  return section("Other reviewers", null, shown.others.map((one) => h("p", { className: "voice" }, said(one.reviewer, "strong"), h("span", { className: one.status }, `${MARKS[one.status]} ${one.status}`), one.tags.map((name) => said(name, "span", { className: "muted" })), one.notes ? said(one.notes) : null)));
}

function details(shown) {
  const kilobytes = `${Math.round(shown.asset.size_bytes / 1000).toLocaleString("en")} kB`;
  return section("Made", null, pairs({
    image: shown.id, model: shown.model, at: shown.generated_at, style: shown.style, complexity: shown.complexity,
    picture: `${shown.asset.width} × ${shown.asset.height}, ${kilobytes}, ${shown.asset.mime_type}`,
  }));
}

// ── zoom and pan ────────────────────────────────────────────────────────────

/** Zoom and movement of one or more pictures together. */
class View {
  constructor(box, onChange = () => {}) {
    Object.assign(this, { box, onChange, scale: 1, x: 0, y: 0, pointers: new Map() });
    box.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0018)), event);
    }, { passive: false });
    box.addEventListener("dblclick", (event) => this.full(event));
    box.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.target.closest("button")) return;
      box.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event);
      box.classList.add("moving");
    });
    box.addEventListener("pointermove", (event) => this.#moved(event));
    for (const end of ["pointerup", "pointercancel"]) box.addEventListener(end, (event) => {
      this.pointers.delete(event.pointerId);
      box.classList.toggle("moving", this.pointers.size > 0);
    });
  }

  #moved(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    if (this.pointers.size === 2) {
      const other = [...this.pointers.values()].find((one) => one.pointerId !== event.pointerId);
      const span = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      this.zoom(span(event) / Math.max(1, span(before)), { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 });
    } else this.pan(event.clientX - before.clientX, event.clientY - before.clientY);
    this.pointers.set(event.pointerId, event);
  }

  pictures = () => [...this.box.querySelectorAll("img")];

  zoom(factor, at) {
    const scale = Math.min(32, Math.max(1, this.scale * factor));
    const frame = this.box.querySelector("figure") ?? this.box;
    const { left, top, width, height } = frame.getBoundingClientRect();
    const px = at ? ((at.clientX - left) % width) - width / 2 : 0;
    const py = at ? at.clientY - top - height / 2 : 0;
    this.x = px - ((px - this.x) * scale) / this.scale;
    this.y = py - ((py - this.y) * scale) / this.scale;
    this.scale = scale;
    this.apply();
  }

  pan(dx, dy) {
    if (this.scale === 1) return;
    this.x += dx;
    this.y += dy;
    this.apply();
  }

  fit() {
    Object.assign(this, { scale: 1, x: 0, y: 0 });
    this.apply();
  }

  full(at) {
    const picture = this.pictures()[0];
    if (!picture) return;
    const actual = picture.naturalWidth / Math.max(1, picture.clientWidth);
    if (this.scale > 1) this.fit();
    else this.zoom(Math.max(actual, 2), at);
  }

  apply() {
    if (this.scale === 1) this.x = this.y = 0;
    for (const picture of this.pictures()) {
      // Never further than that a part of the picture stays in view.
      const mx = (picture.clientWidth * this.scale) / 2;
      const my = (picture.clientHeight * this.scale) / 2;
      this.x = Math.min(mx, Math.max(-mx, this.x));
      this.y = Math.min(my, Math.max(-my, this.y));
      picture.style.transform = this.scale === 1 ? "" : `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
      picture.classList.toggle("close", (this.scale * picture.clientWidth) / picture.naturalWidth >= 3);
    }
    this.onChange(this.scale);
  }
}

const view = new View($("#frame"), (scale) => {
  $("#zoom").textContent = scale === 1 ? "Fit" : `${scale.toFixed(1)} ×`;
});

function place_picture(entry, shown) {
  entry.image.alt = shown.caption ?? `Image ${shown.index}`;
  $("#frame").replaceChildren(entry.image);
  view.fit();
  const mine = shown.mine ? h("span", { className: shown.mine.status }, `${MARKS[shown.mine.status]} ${shown.mine.status}`) : null;
  $("#caption-line").replaceChildren(h("strong", {}, shown.id), h("span", {}, `${(state.place + 1).toLocaleString("en")} / ${state.queue.total.toLocaleString("en")}`), said(themeName(shown.theme)), mine ?? "");
  document.title = `${shown.id} · groundswell review`;
}

// ── comparing ───────────────────────────────────────────────────────────────

/** What keys do while two images are compared; tells whether it was one of them. */
let comparing = null;

function compare(at = 0) {
  const { shown } = state;
  const box = $("#compare");
  if (box.open) return box.close();
  if (!shown?.duplicates.length) return tell("No near-duplicates of this image.");
  const pair = h("div", { className: "pair" });
  const together = new View(pair);
  const side = (id, version, name) => h("figure", {}, h("img", { src: transport.picture(id, version), alt: name, draggable: false }), h("figcaption", {}, name));
  const draw = (i) => {
    at = (i + shown.duplicates.length) % shown.duplicates.length;
    const other = shown.duplicates[at];
    const right = side(other.id, other.version, other.mine ? `${other.id} ${MARKS[other.mine]} ${other.mine}` : other.id);
    right.prepend(h("img", { className: "over", src: transport.picture(shown.id, shown.version), alt: "", draggable: false }));
    right.append(right.firstElementChild);
    pair.replaceChildren(side(shown.id, shown.version, shown.id), right);
    together.fit();
    which.textContent = `${likeness(other)}${shown.duplicates.length > 1 ? ` · ${at + 1} of ${shown.duplicates.length}` : ""}`;
  };
  const which = h("span", { className: "muted" });
  const button = (text, click, properties = {}) => h("button", { type: "button", on: { click }, ...properties }, text);
  const difference = button("Difference", () => difference.setAttribute("aria-pressed", String(pair.classList.toggle("difference"))), { "aria-pressed": "false" });
  box.replaceChildren(
    h("header", {}, h("strong", {}, "Near-duplicates"), which, h("span", {}, shown.duplicates.length > 1 ? [button("‹", () => draw(at - 1), { ariaLabel: "Previous duplicate" }), " ", button("›", () => draw(at + 1), { ariaLabel: "Next duplicate" }), " "] : null, difference, " ", button("Close", () => box.close()))),
    pair,
    h("footer", {}, h("span", { className: "muted" }, keyHint("zoomFull"), " difference ", shown.duplicates.length > 1 ? [keyHint("previous"), keyHint("next"), " others "] : null), h("span", {}, `Decide on ${shown.id}:`), ["accept", "unsure", "reject"].map((status) => button([`${MARKS[status]} ${ACTIONS[status][0]} `, keyHint(status) ?? ""], () => perform(status), { className: status })), button(["Mark as duplicate"], () => !state.draft.tags.includes("duplicate") && tag("duplicate"))),
  );
  comparing = (action) => {
    const act = { next: () => draw(at + 1), previous: () => draw(at - 1), zoomIn: () => together.zoom(1.4), zoomOut: () => together.zoom(1 / 1.4), zoomFit: () => together.fit(), zoomFull: () => difference.click() }[action];
    act?.();
    return act !== undefined;
  };
  box.showModal();
  box.focus();
  draw(at);
}

// ── the grid ────────────────────────────────────────────────────────────────

async function toggleGrid() {
  await keepEdits();
  if (state.view === "grid") {
    setView("one");
    await show(state.focused);
  } else {
    setView("grid");
    await grid();
  }
}

function setView(name) {
  state.view = name;
  $("#one").hidden = name !== "one";
  $("#grid").hidden = name !== "grid";
  $("#toggle-grid").setAttribute("aria-pressed", String(name === "grid"));
}

async function grid() {
  const { total } = state.queue;
  const from = Math.floor(state.focused / GRID_CELLS) * GRID_CELLS;
  const places = [];
  for (let place = from; place < Math.min(total, from + GRID_CELLS); place++) {
    await cardAt(place);
    places.push(place);
  }
  state.gridAt = from;
  const go = (place) => () => {
    state.focused = Math.min(Math.max(0, place), total - 1);
    return grid();
  };
  const pager = h("div", { className: "pager" },
    h("button", { type: "button", disabled: from === 0, on: { click: go(from - GRID_CELLS) } }, "← Page"),
    h("span", {}, total ? `${(from + 1).toLocaleString("en")}–${(from + places.length).toLocaleString("en")} of ${total.toLocaleString("en")}` : "No image passes this filter."),
    h("button", { type: "button", disabled: from + GRID_CELLS >= total, on: { click: go(from + GRID_CELLS) } }, "Page →"),
    h("span", { className: "muted keys" }, h("kbd", {}, "Space"), " select  ", keyHint("accept"), " ", keyHint("unsure"), " ", keyHint("reject"), " decide  ", h("kbd", {}, "Enter"), " open"),
  );
  const cells = h("div", { className: "cells", role: "listbox", ariaLabel: "Images", ariaMultiSelectable: "true" }, places.map(cell));
  $("#grid").replaceChildren(pager, cells);
  $("#grid").scrollTop = 0;
  focusCell(state.focused);
  header();
}

function cell(place) {
  const card = state.cards.get(place);
  return h("button", {
    type: "button", className: `cell ${card.mine ?? ""}`, role: "option", tabIndex: place === state.focused ? 0 : -1, data: { place: String(place) },
    "aria-selected": String(state.selected.has(place)),
    ariaLabel: `Image ${card.index}, ${themeName(card.theme)}, ${card.mine ?? "undecided"}${card.flagged ? ", flagged by QA" : ""}`,
    on: { click: (event) => (event.shiftKey || event.ctrlKey ? select(place) : openCell(place)), focus: () => (state.focused = place) },
  },
  h("img", { src: transport.picture(card.id, card.version, 384), alt: "", loading: "lazy", decoding: "async" }),
  card.mine ? h("span", { className: `badge ${card.mine}`, ariaHidden: "true" }, `${MARKS[card.mine]} ${card.mine}`) : null,
  card.flagged ? h("span", { className: "flag", ariaHidden: "true" }, "QA") : null,
  h("span", { className: "about" }, h("span", {}, String(card.index)), said(themeName(card.theme), "span", { className: "muted" })));
}

const cellAt = (place) => $(`.cell[data-place="${place}"]`);

function focusCell(place) {
  const target = cellAt(place);
  if (!target) return;
  for (const other of document.querySelectorAll('.cell[tabindex="0"]')) other.tabIndex = -1;
  target.tabIndex = 0;
  target.focus();
}

function redrawCell(place) {
  const old = cellAt(place);
  if (!old) return;
  const focused = old === document.activeElement;
  const fresh = cell(place);
  // The picture is there already; a new one would flicker.
  fresh.firstElementChild.replaceWith(old.firstElementChild);
  old.replaceWith(fresh);
  if (focused) fresh.focus();
}

function select(place) {
  if (!state.selected.delete(place)) state.selected.add(place);
  redrawCell(place);
  focusCell(place);
}

async function openCell(place) {
  setView("one");
  await show(place);
  $("#frame").focus();
}

function gridKey(chord) {
  const across = Math.max(1, Math.round($(".cells").clientWidth / Math.max(1, ($(".cell")?.offsetWidth ?? 1) + 9)));
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across, PageUp: -GRID_CELLS, PageDown: GRID_CELLS };
  if (chord in steps) {
    const place = Math.min(Math.max(0, state.focused + steps[chord]), state.queue.total - 1);
    state.focused = place;
    if (cellAt(place)) focusCell(place);
    else perform("redrawGrid");
    return true;
  }
  if (chord === "Space") {
    select(state.focused);
    return true;
  }
  return false;
}

/** Decide on what is selected, else on what has the focus; one durable line each. */
async function decideGrid(status) {
  const places = state.selected.size ? [...state.selected].sort((a, b) => a - b) : [state.focused];
  for (const place of places) {
    const card = await cardAt(place);
    if (!card || card.mine === status) continue;
    const shown = { id: card.id, version: card.version };
    const before = card.mine;
    await send({ ...judgement(status, shown, drafts.get(shown) ?? draftOf(null)), ms: 0 });
    settle(card.id, status, before ? 0 : 1);
    cache.drop(card.id);
    state.selected.delete(place);
    redrawCell(place);
  }
  tell(`${SAID[status]} ${places.length === 1 ? "one image" : `${places.length} images`}. ${state.queue.decided} of ${state.queue.total}.`);
  if (places.length === 1 && state.focused + 1 < state.queue.total) {
    state.focused = places[0] + 1;
    if (cellAt(state.focused)) focusCell(state.focused);
    else await grid();
  }
}

// ── dialogs ─────────────────────────────────────────────────────────────────

function dialog(title, ...children) {
  const box = $("#dialog");
  box.replaceChildren(h("div", {}, h("h1", { id: "dialog-title" }, title), ...children));
  if (!box.open) box.showModal();
  return box;
}

const closeButton = (text = "Close") => h("button", { type: "button", on: { click: () => $("#dialog").close() } }, text);

function filterDialog() {
  const { session } = state;
  const wanted = { ...state.filter };
  const choose = (label, name, options) => {
    const field = h("select", { name, on: { change: () => (wanted[name] = field.value) } },
      h("option", { value: "" }, "any"), options.map(([value, text]) => h("option", { value }, text)));
    field.value = wanted[name] ?? "";
    return h("label", {}, label, field);
  };
  const counted = (counts, name = plain) => Object.entries(counts).map(([value, n]) => [value, `${name(value)} (${n.toLocaleString("en")})`]);
  const value = h("select", { name: "label", on: { change: () => (wanted.label = value.value) } });
  const fillValues = () => {
    const values = session.labels[wanted.category] ?? {};
    value.replaceChildren(...counted(values, String).map(([name, text]) => h("option", { value: name }, text)));
    value.disabled = !wanted.category;
    if (wanted.label in values) value.value = wanted.label;
    wanted.label = wanted.category ? value.value : "";
  };
  const category = h("select", { name: "category", on: { change: () => { wanted.category = category.value; fillValues(); } } }, h("option", { value: "" }, "any"), Object.keys(session.labels).map((name) => h("option", { value: name }, plain(name))));
  category.value = wanted.category ?? "";
  fillValues();
  const drawButtons = [["sample", `${session.sample.toLocaleString("en")} images`, "Sample"], ["flagged", `${session.flagged.toLocaleString("en")} images`, "Flagged by QA"], ["all", `${session.images.toLocaleString("en")} images`, "All"]]
    .filter(([draw]) => transport.keepsDecisions || draw !== "all")
    .map(([draw, size, name]) => h("button", { type: "button", "aria-pressed": String((wanted.draw ?? "sample") === draw), on: { click: (event) => {
      wanted.draw = draw;
      for (const one of event.currentTarget.parentElement.children) one.setAttribute("aria-pressed", String(one === event.currentTarget));
    } } }, name, h("small", {}, size)));
  const apply = async () => {
    $("#dialog").close();
    await keepEdits();
    state.shown = null;
    await openQueue(wanted);
    if (state.view === "grid") await grid();
    else await show(state.place);
  };
  const reviewers = Object.keys({ ...session.reviewers, [state.reviewer]: 0 });
  dialog("What to review",
    h("div", { className: "draws", role: "group", ariaLabel: "Drawn from" }, drawButtons),
    h("div", { className: "fields" },
      choose("Theme", "theme", counted(session.themes, themeName).filter(([theme]) => theme)),
      h("label", {}, "Label", category), h("label", {}, "Label value", value),
      Object.keys(session.findings).length ? choose("QA finding", "finding", counted(session.findings)) : null,
      choose("Decision", "decision", ["undecided", "decided", "accept", "reject", "unsure", "disputed"].filter((one) => transport.keepsDecisions || one !== "disputed").map((one) => [one, one])),
      transport.keepsDecisions ? choose("Decided by", "reviewer", reviewers.map((one) => [one, one])) : null),
    h("p", { className: "muted" }, session.qa_problem ?? "", session.blind ? " This review is blind: what others decided shows after your own decision." : ""),
    h("div", { className: "actions" },
      h("button", { type: "button", on: { click: () => { for (const name of Object.keys(wanted)) if (name !== "draw") delete wanted[name]; perform("applyFilter", apply); } } }, "Clear"),
      closeButton("Cancel"), h("button", { type: "button", className: "primary", id: "apply", on: { click: () => perform("applyFilter", apply) } }, "Review these")));
}

function helpDialog() {
  const item = ([action, [name]]) => name === null ? null : h("li", {}, h("span", {}, name), keys.bound[action].map((chord) => h("kbd", {}, keySign(chord))),
    h("button", { type: "button", ariaLabel: `Change the key of: ${name}`, on: { click: (event) => capture(action, event.currentTarget) } }, "change"));
  const off = h("input", { type: "checkbox", checked: keys.off, on: { change: () => { keys.off = off.checked; memory.set("groundswell:keys-off", keys.off); refreshKeys(); } } });
  dialog("Keys",
    h("ul", { className: "keymap" }, Object.entries(ACTIONS).map(item)),
    h("p", {}, h("label", {}, off, " Turn single-key shortcuts off")),
    h("p", { className: "muted" }, transport.keepsDecisions
      ? "Every decision is on disk before the next image shows. A question key goes on with each press: good, fair, poor, no answer. Esc leaves a text field."
      : "Decisions stay in this browser until you download them; then `groundswell review DIR --merge FILE` adds them to the run."),
    h("div", { className: "actions" }, h("button", { type: "button", on: { click: () => { keys.reset(); refreshKeys(); helpDialog(); } } }, "Reset all keys"), closeButton()));
}

function capture(action, button) {
  button.textContent = "press a key";
  button.classList.add("waiting");
  keys.capture = (event) => {
    event.preventDefault();
    event.stopPropagation();
    if (["Shift", "Control", "Alt", "Meta"].includes(event.key)) return;
    keys.capture = null;
    const chord = event.key === "Escape" || event.key === "Tab" ? null : chordOf(event);
    if (chord) keys.bind(action, chord);
    refreshKeys();
    helpDialog();
  };
}

function refreshKeys() {
  verdict();
  if (state.shown) panel();
}

async function summaryDialog() {
  const summary = await transport.summary();
  if (!summary) {
    const decided = state.queue.decided;
    dialog("Summary", h("p", {}, `${decided} of ${state.queue.total} images decided in this queue, in this browser.`), h("div", { className: "actions" }, closeButton()));
    return;
  }
  const agreed = summary.agreement;
  const tile = (value, text) => h("div", { className: "tile" }, h("b", {}, value), h("span", { className: "muted" }, text));
  const between = (rate) => (rate.low === null ? "" : `${percent(rate.low)} to ${percent(rate.high)}`);
  const bar = (rate) => {
    const range = h("div", { className: "range", ariaHidden: "true" }, h("i"), h("b"));
    range.children[0].style.left = `${100 * rate.low}%`;
    range.children[0].style.width = `${100 * (rate.high - rate.low)}%`;
    range.children[1].style.left = `calc(${100 * rate.share}% - 1px)`;
    return range;
  };
  const parts = (counts) => {
    const all = Math.max(1, counts.good + counts.fair + counts.poor);
    const stack = h("div", { className: "stack", ariaHidden: "true" }, GRADES.map((grade) => h("i", { className: grade })));
    GRADES.forEach((grade, i) => (stack.children[i].style.width = `${(100 * counts[grade]) / all}%`));
    return stack;
  };
  dialog("Summary",
    h("div", { className: "tiles" },
      tile(summary.judged.toLocaleString("en"), `of ${summary.images.toLocaleString("en")} images judged, ${summary.mine.toLocaleString("en")} by you`),
      tile(percent(summary.sample.share), summary.sample.judged ? `accepted in the sample, 95 % between ${between(summary.sample)}` : "accepted in the sample: nothing judged yet"),
      tile(two(agreed.alpha), agreed.images ? `Krippendorff's alpha on ${agreed.images} images judged by two or more` : "agreement: no image judged twice yet")),
    agreed.pairs.length ? [h("h2", {}, "Agreement"), h("table", {}, h("thead", {}, h("tr", {}, ["Reviewers", "Images", "Agreed", "Cohen's kappa"].map((name, i) => h("th", { className: i ? "n" : "" }, name)))), h("tbody", {}, agreed.pairs.map((pair) =>
      h("tr", {}, h("td", {}, said(pair.reviewers[0]), " · ", said(pair.reviewers[1])), h("td", { className: "n" }, String(pair.images)), h("td", { className: "n" }, percent(pair.agreed / pair.images)), h("td", { className: "n" }, two(pair.kappa))))))] : null,
    Object.values(summary.grades).some((counts) => counts.good + counts.fair + counts.poor) ? [h("h2", {}, "The five questions"), h("table", {}, h("thead", {}, h("tr", {}, ["", "", ...GRADES].map((name, i) => h("th", { className: i > 1 ? "n" : "" }, name)))), h("tbody", {}, Object.entries(summary.grades).map(([question, counts]) =>
      h("tr", {}, h("td", {}, state.session.questions[question]), h("td", {}, parts(counts)), GRADES.map((grade) => h("td", { className: "n" }, String(counts[grade])))))))] : null,
    Object.keys(summary.by_theme).length ? [h("h2", {}, "Accepted by theme"), h("table", {}, h("tbody", {}, Object.entries(summary.by_theme).map(([theme, rate]) =>
      h("tr", {}, said(themeName(theme), "td"), h("td", {}, bar(rate)), h("td", { className: "n" }, percent(rate.share)), h("td", { className: "n muted" }, `${rate.accepted} / ${rate.judged}`)))))] : null,
    Object.keys(summary.tags).length ? [h("h2", {}, "Tags"), h("p", {}, Object.entries(summary.tags).map(([name, n]) => [said(name), ` ${n}   `]))] : null,
    summary.damaged_lines ? h("p", { className: "error-line" }, `${summary.damaged_lines} damaged lines in log/reviews.jsonl; run groundswell verify.`) : null,
    h("div", { className: "actions" }, agreed.disputed.length ? h("button", { type: "button", on: { click: () => perform("applyFilter", async () => { $("#dialog").close(); await keepEdits(); state.shown = null; await openQueue({ draw: "all", decision: "disputed" }); setView("one"); await show(state.place); }) } }, `Look at ${agreed.disputed.length} disputed`) : null, closeButton()));
}

function whoDialog() {
  const field = h("input", { type: "text", maxLength: 64, value: state.reviewer, ariaLabel: "Reviewer" });
  const apply = async () => {
    const name = field.value.trim();
    $("#dialog").close();
    if (!name || name === state.reviewer) return;
    await keepEdits();
    state.reviewer = name;
    memory.set("groundswell:reviewer", name);
    state.shown = null;
    state.times = [];
    await openQueue(state.filter);
    if (state.view === "grid") await grid();
    else await show(state.place);
  };
  field.addEventListener("keydown", (event) => event.key === "Enter" && perform("applyFilter", apply));
  dialog("Who is reviewing?", h("p", { className: "muted" }, "Decisions carry this name; agreement is counted between names."), h("div", { className: "fields" }, h("label", {}, "Reviewer", field)),
    h("div", { className: "actions" }, closeButton("Cancel"), h("button", { type: "button", className: "primary", on: { click: () => perform("applyFilter", apply) } }, "Go on")));
  field.select();
}

function download() {
  if (transport.keepsDecisions) return tell("Decisions are in the run already.");
  const text = transport.lines();
  const name = `reviews-${state.session.run}-${state.reviewer}.jsonl`.replaceAll(/[^A-Za-z0-9._-]+/g, "-");
  const url = URL.createObjectURL(new Blob([text], { type: "application/jsonl" }));
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
  const copy = h("textarea", { readOnly: true, rows: 6, value: text, ariaLabel: "Decisions" });
  dialog("Decisions downloaded", h("p", {}, `${name} · then: `, h("code", {}, `groundswell review DIR --merge ${name}`)),
    h("p", { className: "muted" }, "If no file came (a notebook's frame may forbid it), copy this text into one:"), copy, h("div", { className: "actions" }, closeButton()));
}

function theme() {
  const order = ["auto", "light", "dark"];
  const next = order[(order.indexOf(memory.get("groundswell:theme", "auto")) + 1) % 3];
  memory.set("groundswell:theme", next);
  applyTheme();
  tell(`Theme: ${next}.`);
}

function applyTheme() {
  const chosen = memory.get("groundswell:theme", "auto");
  if (chosen === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  $("#toggle-theme").textContent = chosen === "auto" ? "Theme" : chosen === "light" ? "Light" : "Dark";
}

// ── what the keys and buttons do ────────────────────────────────────────────

const inOne = (act) => () => (state.view === "one" && state.shown ? act() : undefined);
const judge = (status) => () => (state.view === "grid" && !$("#compare").open ? decideGrid(status) : decide(status));
const focusOn = (selector) => inOne(() => {
  const field = $(selector);
  field?.scrollIntoView({ block: "nearest" });
  field?.focus();
});
const scrollBy = (share) => () => $("#panel").scrollBy({ top: share * $("#panel").clientHeight });

async function step(by) {
  const place = state.place + by;
  if (place < 0 || place >= state.queue.total) return tell(by > 0 ? "This is the last image." : "This is the first image.");
  await show(place);
  tell(`Image ${state.shown.index}, ${themeName(state.shown.theme)}, ${state.shown.mine?.status ?? "undecided"}.`);
}

const ACT = {
  accept: judge("accept"),
  reject: judge("reject"),
  unsure: judge("unsure"),
  undo,
  next: inOne(() => step(1)),
  previous: inOne(() => step(-1)),
  nextOpen: inOne(async () => {
    const place = await nextOpen(state.place);
    return place === null ? finished() : show(place);
  }),
  ...Object.fromEntries([1, 2, 3, 4, 5].map((n) => [`question${n}`, inOne(() => cycle(n))])),
  ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8].map((n) => [`tag${n}`, inOne(() => tag(state.session.tags[n - 1]))])),
  editCaption: focusOn("#caption"),
  editLabels: focusOn("#labels input"),
  notes: focusOn("#notes"),
  compare: inOne(() => compare(0)),
  zoomIn: inOne(() => view.zoom(1.4)),
  zoomOut: inOne(() => view.zoom(1 / 1.4)),
  zoomFit: inOne(() => view.fit()),
  zoomFull: inOne(() => view.full()),
  panLeft: inOne(() => view.pan(80, 0)),
  panRight: inOne(() => view.pan(-80, 0)),
  panUp: inOne(() => view.pan(0, 80)),
  panDown: inOne(() => view.pan(0, -80)),
  scrollDown: scrollBy(0.8),
  scrollUp: scrollBy(-0.8),
  grid: toggleGrid,
  redrawGrid: grid,
  filter: async () => {
    if (transport.keepsDecisions) state.session = await transport.session();
    filterDialog();
  },
  applyFilter: (apply) => apply(),
  summary: summaryDialog,
  download,
  theme,
  who: whoDialog,
  help: helpDialog,
};

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-action]");
  if (button) perform(button.dataset.action, event);
});

// ── start ───────────────────────────────────────────────────────────────────

async function start() {
  const address = new URLSearchParams(location.search);
  // The cookie holds the token by now; the address bar and the history need not.
  if (address.has("token")) history.replaceState(null, "", location.pathname);
  applyTheme();
  keys.load();
  state.session = await transport.session();
  state.reviewer = address.get("reviewer") || memory.get("groundswell:reviewer") || state.session.reviewer || "reviewer";
  $("#run").textContent = state.session.run;
  $("#download").hidden = transport.keepsDecisions;
  if (!memory.lasting && !transport.keepsDecisions) {
    state.notice = "This frame keeps nothing: download your decisions before you close it.";
    banner(null);
  }
  await sendOutbox();
  const before = memory.get(`groundswell:${state.session.run}:filter`, { draw: "sample" });
  try {
    await openQueue(before);
  } catch (error) {
    if (error.status !== 422) throw error;
    await openQueue({ draw: "sample" });
  }
  if (state.queue.total && state.queue.decided === state.queue.total) {
    await show(0);
    finished();
  } else await show(state.place);
  refreshAgreement();
}

start().catch(complain);
