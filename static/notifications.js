// Browser notifications for expiry warnings, while the portal is open in a tab.

"use strict";

(() => {
  const supported = "Notification" in window;
  const SHOWN_KEY = "warnings-shown";
  const MAX_REMEMBERED = 50;

  // Several tabs get the same warning: the first to record it shows it.
  function claim(id) {
    const shown = JSON.parse(localStorage.getItem(SHOWN_KEY) || "[]");
    if (shown.includes(id)) return false;
    localStorage.setItem(SHOWN_KEY, JSON.stringify([...shown, id].slice(-MAX_REMEMBERED)));
    return true;
  }

  function showNotification(warning) {
    if (!claim(warning.dataset.warning)) return;
    const { title, text, url } = warning.dataset;
    const notification = new Notification(title, { body: text, tag: `warning-${warning.dataset.warning}` });
    notification.addEventListener("click", () => {
      window.focus();
      location.assign(url);
      notification.close();
    });
  }

  function notify() {
    const container = document.getElementById("warnings");
    if (!supported || Notification.permission !== "granted" || !container || !("notify" in container.dataset)) return;
    container.querySelectorAll("[data-warning]").forEach(showNotification);
  }

  function updatePermissionControls() {
    const status = document.querySelector("[data-notify-state]");
    const canAsk = supported && Notification.permission === "default";
    document.querySelectorAll("[data-notify-request]").forEach((button) => {
      button.hidden = !canAsk;
    });
    if (!status) return;
    if (!supported) status.textContent = "This browser doesn't support notifications.";
    else if (Notification.permission === "denied") {
      status.textContent = "Notifications are blocked. Allow them in your browser's site settings.";
    } else status.textContent = canAsk ? "" : "Notifications are allowed in this browser.";
  }

  async function savePreference() {
    const container = document.getElementById("warnings");
    const token = document.querySelector("[name=csrfmiddlewaretoken]")?.value;
    const url = container?.dataset.notifyUrl;
    if (!url || !token) return;
    await fetch(url, { method: "POST", headers: { "X-CSRFToken": token } });
    container.dataset.notify = "";
  }

  // Ask for permission only after a click.
  document.addEventListener("click", async (event) => {
    if (!event.target.closest("[data-notify-request]")) return;
    const permission = await Notification.requestPermission();
    updatePermissionControls();
    if (permission !== "granted") return;
    const checkbox = document.getElementById("id_browser");
    if (checkbox) checkbox.checked = true;
    await savePreference();
    notify();
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.elt.id !== "warnings") return;
    updatePermissionControls();
    notify();
  });
  updatePermissionControls();
  notify();
})();
