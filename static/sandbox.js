// What a sandbox's card and page do besides what every page does: the estimate that counts down,
// and a log that stays where its reader is. Everything works without it too.

"use strict";

// --- how far the making of a sandbox is: seconds from the server, so a wrong clock does no harm ---

const NEARLY = 0.97;
const begun = new WeakMap();

function sinceShown(element) {
  if (!begun.has(element)) begun.set(element, { at: performance.now(), value: element.value });
  const { at, value } = begun.get(element);
  return { seconds: (performance.now() - at) / 1000, value };
}

function fill(bar) {
  const { seconds, value } = sinceShown(bar);
  bar.value = Math.min(value + seconds, NEARLY * bar.max);
}

function countDown(words) {
  const left = Number(words.dataset.eta) - sinceShown(words).seconds;
  words.textContent = left > 0.5 ? words.dataset.words.replace("{}", Math.round(left)) : words.dataset.late;
}

setInterval(() => {
  document.querySelectorAll("progress[data-fills]").forEach(fill);
  document.querySelectorAll("[data-eta]").forEach(countDown);
}, 200);

// --- the log: at its end when read, and after that where somebody has scrolled to ------------------

let reading = { atEnd: true, top: 0 };

document.addEventListener(
  "scroll",
  (event) => {
    const log = event.target;
    if (log.id !== "log-text") return;
    reading = { atEnd: log.scrollTop + log.clientHeight > log.scrollHeight - 24, top: log.scrollTop };
  },
  true,
);
document.addEventListener("click", (event) => {
  if (event.target.closest?.("#logs .tab")) reading = { atEnd: true, top: 0 };
});

function backToReading() {
  const log = document.getElementById("log-text");
  if (log) log.scrollTop = reading.atEnd ? log.scrollHeight : reading.top;
}

backToReading();
document.addEventListener("htmx:afterSwap", (event) => {
  if (["logs", "log-lines"].includes(event.detail.target.id)) backToReading();
});

// Nobody looks: what is only there to be looked at is not asked for.
document.addEventListener("htmx:beforeRequest", (event) => {
  const { elt, requestConfig } = event.detail;
  const polls = requestConfig.triggeringEvent?.type === "hx:poll:trigger";
  if (polls && document.hidden && ["log-lines", "usage"].includes(elt.id)) event.preventDefault();
});

// What was opened stays open when its section is drawn anew.
document.addEventListener("htmx:beforeSwap", (event) => {
  const kept = [...event.detail.target.querySelectorAll("details[id][open]")].map(({ id }) => id);
  if (!kept.length) return;
  const reopen = () => kept.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
  if (["usage", "journal"].includes(event.detail.target.id)) setTimeout(reopen);
});
