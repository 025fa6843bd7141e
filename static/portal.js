// All pages: local times, countdowns, announcements, toasts, copy buttons, dialogs and undo.
// The pages also work without JavaScript.

"use strict";

const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// --- times in the reader's time zone -------------------------------------------------------------

// Texts come with the page, as data attributes.
const texts = document.getElementById("toasts").dataset;
const locale = document.documentElement.lang === "en" ? "en-GB" : document.documentElement.lang;

const FORMATS = {
  time: { hour: "2-digit", minute: "2-digit" },
  clock: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
  date: { day: "numeric", month: "short", year: "numeric" },
  datetime: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
  seconds: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" },
};
const formatters = Object.fromEntries(
  Object.entries(FORMATS).map(([name, options]) => [name, new Intl.DateTimeFormat(locale, options)]),
);
const exactFormatter = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "long" });
const relativeFormatter = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });

function timeAgo(date) {
  const minutes = Math.round((date - Date.now()) / 60000);
  if (minutes === 0) return texts.justNow;
  if (Math.abs(minutes) < 60) return relativeFormatter.format(minutes, "minute");
  const hours = Math.round(minutes / 60);
  if (Math.abs(hours) < 24) return relativeFormatter.format(hours, "hour");
  return relativeFormatter.format(Math.round(hours / 24), "day");
}

function renderTime(element) {
  const date = new Date(element.dateTime);
  const { format } = element.dataset;
  element.textContent = format === "ago" ? timeAgo(date) : formatters[format].format(date);
  element.title = exactFormatter.format(date);
}

// --- countdowns and stopwatches ------------------------------------------------------------------
// The server sends seconds rather than timestamps, so a wrong local clock does no harm.

const timers = new Map();

function formatRemaining(seconds) {
  if (seconds < 600) return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  const minutes = Math.ceil(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (!hours) return `${minutes} min`;
  return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
}

function updateTimer(element, timer) {
  if ("startedAt" in timer) {
    element.textContent = `${((Date.now() - timer.startedAt) / 1000).toFixed(1)} s`;
    return;
  }
  const seconds = Math.max(0, Math.round((timer.endsAt - Date.now()) / 1000));
  if (element.tagName === "PROGRESS") element.value = seconds;
  else if ("approximate" in element.dataset && seconds < 600) {
    element.textContent = `${Math.max(1, Math.round(seconds / 60))} min`;
  } else element.textContent = formatRemaining(seconds);
}

function updateTimers() {
  for (const [element, timer] of timers) {
    if (element.isConnected) updateTimer(element, timer);
    else timers.delete(element);
  }
}

setInterval(updateTimers, 250);

// --- new content, on page load and after each swap -----------------------------------------------

const lastAnnouncements = new Map();

function hydrate(root) {
  $$("time[data-format]", root).forEach(renderTime);
  $$("[data-seconds-left]", root).forEach((element) => {
    timers.set(element, { endsAt: Date.now() + Number(element.dataset.secondsLeft) * 1000 });
  });
  $$("[data-elapsed]", root).forEach((element) => {
    timers.set(element, { startedAt: Date.now() - Number(element.dataset.elapsed) * 1000 });
  });
  $$("[data-scroll-end]", root).forEach((element) => {
    element.scrollTop = element.scrollHeight;
  });
  [root, ...$$("[data-announce]", root)].forEach(announceChange);
}

function announceChange(element) {
  const text = element.dataset?.announce;
  if (!text || lastAnnouncements.get(element.id) === text) return;
  // Screen readers read the initial page anyway; announce only changes.
  if (document.readyState === "complete") announceToScreenReader(text);
  lastAnnouncements.set(element.id, text);
}

// A background tab shows the announcement in its title as well.
const pageTitle = document.title;

function announceToScreenReader(text) {
  document.getElementById("announcer").textContent = text;
  if (document.hidden) document.title = text;
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) document.title = pageTitle;
});

hydrate(document);
// Not htmx:load, which fires a moment later: UTC would visibly change to local time.
new MutationObserver((changes) => {
  const added = changes.flatMap((change) => [...change.addedNodes]);
  added.filter((node) => node instanceof Element && node.isConnected).forEach(hydrate);
}).observe(document.body, { childList: true, subtree: true });
setInterval(() => $$('time[data-format="ago"]').forEach(renderTime), 30000);

// --- toasts --------------------------------------------------------------------------------------

function showToast(text, { persistent = false, onUndo = null } = {}) {
  const toast = document.createElement("div");
  toast.className = "toast";
  const message = document.createElement("p");
  message.textContent = text;
  toast.append(message);
  if (onUndo) toast.append(undoButton(onUndo));
  document.getElementById("toasts").append(toast);
  if (!persistent) setTimeout(() => toast.remove(), 6000);
  return toast;
}

function undoButton(onUndo) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "toast-undo";
  button.textContent = texts.undo;
  button.addEventListener("click", onUndo);
  return button;
}

document.addEventListener("toast", (event) => showToast(event.detail.text));

let connectionToast = null;

document.addEventListener("htmx:sendError", () => {
  connectionToast ??= showToast(texts.offline, { persistent: true });
});
document.addEventListener("htmx:responseError", (event) => {
  // The CSRF token is outdated: the user signed in or out in another tab.
  if (event.detail.xhr.status === 403) return location.reload();
  connectionToast ??= showToast(texts.serverError, { persistent: true });
});
document.addEventListener("htmx:afterOnLoad", (event) => {
  if (!event.detail.successful) return;
  connectionToast?.remove();
  connectionToast = null;
});

// --- copy buttons --------------------------------------------------------------------------------

async function copy(text) {
  // There is no clipboard API over plain HTTP, and browsers may refuse access to it.
  try {
    return await navigator.clipboard.writeText(text);
  } catch {
    copyWithSelection(text);
  }
}

function copyWithSelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

async function onCopy(button) {
  await copy(button.dataset.copy);
  button.classList.add("copied");
  announceToScreenReader(texts.copied);
  setTimeout(() => button.classList.remove("copied"), 1600);
}

// --- dialogs and popovers ------------------------------------------------------------------------

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

// Move the focus to the new card if the replaced card contained it.
let focusedCardId = null;

function rememberFocusedCard(event) {
  const card = document.activeElement?.closest(".card");
  focusedCardId = card && card.id === event.detail.target.id ? card.id : focusedCardId;
}

document.addEventListener("htmx:beforeSwap", rememberFocusedCard);
document.addEventListener("htmx:oobBeforeSwap", rememberFocusedCard);
document.addEventListener("htmx:afterSettle", () => {
  const focusLost = document.activeElement === document.body || document.activeElement === null;
  if (focusedCardId && focusLost) document.getElementById(focusedCardId)?.focus({ preventScroll: true });
  focusedCardId = null;
});

// A poll leaves the menu open that the user is about to choose from.
document.addEventListener("htmx:oobBeforeSwap", ({ detail }) => {
  detail.target.querySelectorAll("details[data-popover][open]").forEach(({ id }) => {
    const renewed = id && detail.fragment.querySelector(`#${id}`);
    if (renewed) renewed.open = true;
  });
});

// The response to an action must find the card that it is for. The next poll asks again.
document.addEventListener("htmx:beforeSwap", (event) => {
  const isPoll = event.detail.requestConfig.elt.id === "dashboard-poll";
  const isActing = document.querySelector("#dashboard .htmx-request:not(#dashboard-poll)");
  if (isPoll && isActing) event.detail.shouldSwap = false;
});

// --- undo: the request is held back for a few seconds --------------------------------------------

const UNDO_MILLISECONDS = 6000;
const pendingActions = new Map();

// The card may be replaced meanwhile, so remember only what the request needs. Without JavaScript,
// the link leads to a page that asks first.
function postpone(link) {
  const card = `#card-${link.dataset.destroy}`;
  const data = new FormData();
  data.set("csrfmiddlewaretoken", document.querySelector("[name=csrfmiddlewaretoken]").value);
  const action = { card, url: link.href, data, opener: link };
  action.toast = showToast(link.dataset.undoMessage, { persistent: true, onUndo: () => undo(action) });
  action.toast.classList.add("toast-undo-pending");
  action.timer = setTimeout(() => send(action), UNDO_MILLISECONDS);
  pendingActions.set(action.url, action);
  document.querySelector(card)?.classList.add("undo-pending");
  action.toast.querySelector("button").focus();
}

function settle(action) {
  clearTimeout(action.timer);
  pendingActions.delete(action.url);
  const hadFocus = action.toast.contains(document.activeElement);
  action.toast.remove();
  const card = document.querySelector(action.card);
  card?.classList.remove("undo-pending");
  if (hadFocus) (action.opener.isConnected ? action.opener : card)?.focus({ preventScroll: true });
  return card;
}

function undo(action) {
  settle(action);
  announceToScreenReader(texts.restored);
}

function send(action) {
  const values = Object.fromEntries(action.data);
  if (settle(action)) htmx.ajax("POST", action.url, { target: action.card, swap: "outerHTML", values });
  else navigator.sendBeacon(action.url, action.data);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-destroy]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (!pendingActions.has(link.href)) postpone(link);
});
// Leaving the page without undoing confirms the action.
window.addEventListener("pagehide", () => {
  for (const action of pendingActions.values()) {
    settle(action);
    navigator.sendBeacon(action.url, action.data);
  }
});

// --- no double submits ---------------------------------------------------------------------------

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || form.hasAttribute("hx-post") || "resubmittable" in form.dataset) return;
  if (form.dataset.submitted) event.preventDefault();
  form.dataset.submitted = "yes";
});
window.addEventListener("pageshow", () => {
  $$("form[data-submitted]").forEach((form) => delete form.dataset.submitted);
});
