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
  if (event.detail.target.id === "answer") event.detail.target.scrollIntoView({ block: "nearest" });
});
