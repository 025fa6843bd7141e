// API explorer: keyboard shortcut and scrolling. The page also works without JavaScript.

"use strict";

document.addEventListener("keydown", (event) => {
  const form = event.target.closest?.("#request-form");
  if (!form || event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  form.requestSubmit(document.getElementById("send-request"));
});

// On a narrow screen the response may be below the fold.
document.addEventListener("htmx:afterSettle", (event) => {
  const { target } = event.detail;
  if (target?.id === "response") target.scrollIntoView({ block: "nearest" });
});
