// What the API explorer does in the browser besides htmx; it works without this.

"use strict";

document.addEventListener("keydown", (event) => {
  const form = event.target.closest?.("#try");
  if (!form || event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  form.requestSubmit(document.getElementById("send"));
});

// On a narrow screen the answer may be out of sight.
document.addEventListener("htmx:afterSettle", (event) => {
  const { target } = event.detail;
  if (target?.id === "answer") target.scrollIntoView({ block: "nearest" });
});
