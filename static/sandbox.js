// Sandbox cards and pages: provisioning progress and the log's scroll position.
// The pages also work without JavaScript.

"use strict";

// --- provisioning progress -----------------------------------------------------------------------
// The server sends seconds rather than timestamps, so a wrong local clock does no harm.

const MAX_SHARE_BEFORE_READY = 0.97;
const startValues = new WeakMap();

function sinceFirstSeen(element) {
  if (!startValues.has(element)) startValues.set(element, { at: performance.now(), value: element.value });
  const { at, value } = startValues.get(element);
  return { seconds: (performance.now() - at) / 1000, value };
}

function updateProgress(bar) {
  const { seconds, value } = sinceFirstSeen(bar);
  bar.value = Math.min(value + seconds, MAX_SHARE_BEFORE_READY * bar.max);
}

function updateEta(element) {
  const { eta, etaText, etaOverdue } = element.dataset;
  const left = Number(eta) - sinceFirstSeen(element).seconds;
  element.textContent = left > 0.5 ? etaText.replace("{}", Math.round(left)) : etaOverdue;
}

setInterval(() => {
  document.querySelectorAll("progress[data-progress]").forEach(updateProgress);
  document.querySelectorAll("[data-eta]").forEach(updateEta);
}, 200);

// --- log: stays at its end, or where the reader scrolled to --------------------------------------

const AT_END = { atEnd: true, top: 0 };
let logPosition = AT_END;

document.addEventListener(
  "scroll",
  (event) => {
    const log = event.target;
    if (log.id !== "log-text") return;
    logPosition = { atEnd: log.scrollTop + log.clientHeight > log.scrollHeight - 24, top: log.scrollTop };
  },
  true,
);
document.addEventListener("click", (event) => {
  if (event.target.closest?.("#logs .tab")) logPosition = AT_END;
});

function restoreLogPosition() {
  const log = document.getElementById("log-text");
  if (log) log.scrollTop = logPosition.atEnd ? log.scrollHeight : logPosition.top;
}

restoreLogPosition();
document.addEventListener("htmx:afterSwap", (event) => {
  if (["logs", "log-lines"].includes(event.detail.target.id)) restoreLogPosition();
});

// Don't poll logs, usage and events in a hidden tab.
document.addEventListener("htmx:beforeRequest", (event) => {
  const { elt, requestConfig } = event.detail;
  const isPoll = requestConfig.triggeringEvent?.type === "hx:poll:trigger";
  if (isPoll && document.hidden && ["inbox-events", "log-lines", "usage"].includes(elt.id)) event.preventDefault();
});

// Keep <details> open when their section is replaced.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (!["inbox-events", "journal", "usage"].includes(event.detail.target.id)) return;
  const openIds = [...event.detail.target.querySelectorAll("details[id][open]")].map(({ id }) => id);
  setTimeout(() => openIds.forEach((id) => document.getElementById(id)?.setAttribute("open", "")));
});
