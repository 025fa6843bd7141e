// What the pages do in the browser besides htmx: clocks, copying, dialogs, notices.
// Everything works without it too; here it is only made livelier.

"use strict";

const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// --- moments, in the reader's zone ---------------------------------------------------------

// The words that scripts say come with the page, in its language.
const words = document.getElementById("toasts").dataset;
const language = document.documentElement.lang === "en" ? "en-GB" : document.documentElement.lang;

const FORMATS = {
  time: { hour: "2-digit", minute: "2-digit" },
  clock: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
  date: { day: "numeric", month: "short", year: "numeric" },
  datetime: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
  seconds: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" },
};
const formatters = Object.fromEntries(
  Object.entries(FORMATS).map(([name, form]) => [name, new Intl.DateTimeFormat(language, form)]),
);
const exact = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "long" });
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });

function ago(moment) {
  const minutes = Math.round((moment - Date.now()) / 60000);
  if (Math.abs(minutes) < 60) return minutes === 0 ? words.justNow : relative.format(minutes, "minute");
  const hours = Math.round(minutes / 60);
  return Math.abs(hours) < 24 ? relative.format(hours, "hour") : relative.format(Math.round(hours / 24), "day");
}

function showMoment(element) {
  const moment = new Date(element.dateTime);
  const form = element.dataset.format;
  element.textContent = form === "ago" ? ago(moment) : formatters[form].format(moment);
  element.title = exact.format(moment);
}

// --- clocks that tick: the server says how many seconds, so a wrong local clock does no harm -

const ticking = new Map();

function remaining(seconds) {
  if (seconds < 600) return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  const minutes = Math.ceil(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (!hours) return `${minutes} min`;
  return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
}

function tick(element, clock) {
  if ("began" in clock) {
    element.textContent = `${((Date.now() - clock.began) / 1000).toFixed(1)} s`;
    return;
  }
  const seconds = Math.max(0, Math.round((clock.ends - Date.now()) / 1000));
  if (element.tagName === "PROGRESS") element.value = seconds;
  else if ("rough" in element.dataset && seconds < 600) {
    element.textContent = `${Math.max(1, Math.round(seconds / 60))} min`;
  } else element.textContent = remaining(seconds);
}

function tickAll() {
  for (const [element, clock] of ticking) {
    if (element.isConnected) tick(element, clock);
    else ticking.delete(element);
  }
}

setInterval(tickAll, 250);

// --- whatever comes to the page, at first or by a swap -----------------------------------------

let announced = new Map();

function enliven(root) {
  $$("time[data-format]", root).forEach(showMoment);
  $$("[data-left]", root).forEach((element) => {
    ticking.set(element, { ends: Date.now() + Number(element.dataset.left) * 1000 });
  });
  $$("[data-since]", root).forEach((element) => {
    ticking.set(element, { began: Date.now() - Number(element.dataset.since) * 1000 });
  });
  $$("[data-scroll-end]", root).forEach((element) => {
    element.scrollTop = element.scrollHeight;
  });
  [root, ...$$("[data-announce]", root)].forEach(announce);
}

function announce(element) {
  const text = element.dataset?.announce;
  if (!text || announced.get(element.id) === text) return;
  // What the page began with is read anyway; only changes are news.
  if (document.readyState === "complete") say(text);
  announced.set(element.id, text);
}

// For who listens, and in the title for who looks at another tab.
const title = document.title;

function say(text) {
  document.getElementById("announcer").textContent = text;
  if (document.hidden) document.title = text;
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) document.title = title;
});

enliven(document);
// Not htmx:load, which comes a moment later: people would see UTC turn into their own time.
new MutationObserver((changes) => {
  const added = changes.flatMap((change) => [...change.addedNodes]);
  added.filter((node) => node instanceof Element && node.isConnected).forEach(enliven);
}).observe(document.body, { childList: true, subtree: true });
setInterval(() => $$('time[data-format="ago"]').forEach(showMoment), 30000);

// --- notices -------------------------------------------------------------------------------------

function notice(text, { stays = false, undo = null } = {}) {
  const toast = document.createElement("div");
  toast.className = "toast";
  const said = document.createElement("p");
  said.textContent = text;
  toast.append(said);
  if (undo) toast.append(undoButton(undo));
  document.getElementById("toasts").append(toast);
  if (!stays) setTimeout(() => toast.remove(), 6000);
  return toast;
}

function undoButton(undo) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "toast-undo";
  button.textContent = words.undo;
  button.addEventListener("click", undo);
  return button;
}

document.addEventListener("notice", (event) => notice(event.detail.text));

let offline = null;

document.addEventListener("htmx:sendError", () => {
  offline ??= notice(words.unreachable, { stays: true });
});
document.addEventListener("htmx:responseError", (event) => {
  // The form is too old: somebody signed in or out since, in another tab.
  if (event.detail.xhr.status === 403) return location.reload();
  offline ??= notice(words.unanswered, { stays: true });
});
document.addEventListener("htmx:afterOnLoad", (event) => {
  if (!event.detail.successful) return;
  offline?.remove();
  offline = null;
});

// --- copying -------------------------------------------------------------------------------------

async function copy(text) {
  // Over plain HTTP to another machine there is no clipboard API, and elsewhere it may be refused.
  try {
    return await navigator.clipboard.writeText(text);
  } catch {
    copyTheOldWay(text);
  }
}

function copyTheOldWay(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "unseen";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

async function onCopy(button) {
  await copy(button.dataset.copy);
  button.classList.add("copied");
  say(words.copied);
  setTimeout(() => button.classList.remove("copied"), 1600);
}

// --- dialogs and popovers ----------------------------------------------------------------------

function closePopovers(except = null) {
  $$("details[data-popover][open]").forEach((popover) => {
    if (popover !== except) popover.open = false;
  });
}

document.addEventListener("click", (event) => {
  closePopovers(event.target.closest("details[data-popover]"));
  const button = event.target.closest("[data-copy]");
  if (button) onCopy(button);
  const opener = event.target.closest("[data-dialog]");
  const dialog = opener && document.getElementById(opener.dataset.dialog);
  if (dialog) {
    event.preventDefault();
    dialog.showModal();
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const open = event.target.closest?.("details[data-popover][open]");
  closePopovers();
  open?.querySelector("summary").focus();
});

// A card that was drawn anew takes over the focus that was inside the old one.
let focusedCard = null;

document.addEventListener("htmx:beforeSwap", (event) => {
  const card = document.activeElement?.closest(".card");
  focusedCard = card && card.id === event.detail.target.id ? card.id : null;
});
document.addEventListener("htmx:afterSettle", () => {
  const lost = document.activeElement === document.body || document.activeElement === null;
  if (focusedCard && lost) document.getElementById(focusedCard)?.focus({ preventScroll: true });
  focusedCard = null;
});

// --- what can be undone for a few seconds: it has not been sent yet ------------------------------

const LATE = 6000;
const late = new Map();

// A card may be drawn anew meanwhile, so nothing is kept of the form but what it would send.
function beLate(form) {
  const act = { card: form.getAttribute("hx-target"), action: form.action, data: new FormData(form) };
  form.closest("dialog")?.close();
  act.opener = document.activeElement;
  act.toast = notice(form.dataset.late, { stays: true, undo: () => undoLate(act) });
  act.toast.classList.add("toast-late");
  act.timer = setTimeout(() => doLate(act), LATE);
  late.set(act.action, act);
  document.querySelector(act.card)?.classList.add("is-late");
  act.toast.querySelector("button").focus();
}

function endLate(act) {
  clearTimeout(act.timer);
  late.delete(act.action);
  const hadFocus = act.toast.contains(document.activeElement);
  act.toast.remove();
  const card = document.querySelector(act.card);
  card?.classList.remove("is-late");
  if (hadFocus) (act.opener.isConnected ? act.opener : card)?.focus({ preventScroll: true });
  return card;
}

function undoLate(act) {
  endLate(act);
  say(words.kept);
}

function doLate(act) {
  const values = Object.fromEntries(act.data);
  if (endLate(act)) htmx.ajax("POST", act.action, { target: act.card, swap: "outerHTML", values });
  else navigator.sendBeacon(act.action, act.data);
}

document.addEventListener("htmx:confirm", (event) => {
  const form = event.detail.elt;
  if (!form.dataset.late) return;
  event.preventDefault();
  if (!late.has(form.action)) beLate(form);
});
// Whoever leaves has confirmed it and not undone it.
window.addEventListener("pagehide", () => {
  for (const act of late.values()) {
    endLate(act);
    navigator.sendBeacon(act.action, act.data);
  }
});

// A form that is on its way is not sent a second time.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || form.hasAttribute("hx-post") || "again" in form.dataset) return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => {
  $$("form[data-sent]").forEach((form) => delete form.dataset.sent);
});
