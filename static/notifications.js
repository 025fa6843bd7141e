// Notifications of the browser, for those who want them, while the portal is open in a tab.

"use strict";

(() => {
  const supported = "Notification" in window;
  const shownKey = "warnings-shown";

  // Other tabs show the same warning: who is first writes it down.
  function isNew(id) {
    const shown = JSON.parse(localStorage.getItem(shownKey) || "[]");
    if (shown.includes(id)) return false;
    localStorage.setItem(shownKey, JSON.stringify([...shown, id].slice(-50)));
    return true;
  }

  function show(warning) {
    if (!isNew(warning.dataset.warning)) return;
    const { title, text, url } = warning.dataset;
    const notification = new Notification(title, { body: text, tag: `warning-${warning.dataset.warning}` });
    notification.addEventListener("click", () => {
      window.focus();
      location.assign(url);
      notification.close();
    });
  }

  function notify() {
    const place = document.getElementById("warnings");
    if (!supported || Notification.permission !== "granted" || !place || !("notify" in place.dataset)) return;
    place.querySelectorAll("[data-warning]").forEach(show);
  }

  function offer() {
    const words = document.querySelector("[data-notify-state]");
    const open = supported && Notification.permission === "default";
    document.querySelectorAll("[data-notify-ask]").forEach((button) => {
      button.hidden = !open;
    });
    if (!words) return;
    if (!supported) words.textContent = "This browser has no notifications.";
    else if (Notification.permission === "denied") {
      words.textContent = "This browser blocks them for the portal; its settings can change that.";
    } else words.textContent = open ? "" : "This browser allows them.";
  }

  async function want() {
    const place = document.getElementById("warnings");
    const token = document.querySelector("[name=csrfmiddlewaretoken]")?.value;
    const url = place?.dataset.wishUrl;
    if (!url || !token) return;
    await fetch(url, { method: "POST", headers: { "X-CSRFToken": token } });
    place.dataset.notify = "";
  }

  // Only ever asked for on a click.
  document.addEventListener("click", async (event) => {
    if (!event.target.closest("[data-notify-ask]")) return;
    const answer = await Notification.requestPermission();
    offer();
    if (answer !== "granted") return;
    const box = document.getElementById("id_browser");
    if (box) box.checked = true;
    await want();
    notify();
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.elt.id !== "warnings") return;
    offer();
    notify();
  });
  offer();
  notify();
})();
