// Shows an OpenAPI document with Swagger UI, in the colors of the system.
"use strict";

const reference = document.getElementById("api-reference");
const darkScheme = window.matchMedia("(prefers-color-scheme: dark)");

function applyScheme() {
  document.documentElement.classList.toggle("dark-mode", darkScheme.matches);
}

applyScheme();
darkScheme.addEventListener("change", applyScheme);

SwaggerUIBundle({
  url: reference.dataset.specification,
  domNode: reference,
  layout: "BaseLayout",
  // Deep links would be links inside of buttons, and highlighting has colors of low contrast.
  deepLinking: false,
  syntaxHighlight: false,
  // Browsers may not send requests from this page to a sandbox; its explorer does.
  supportedSubmitMethods: reference.dataset.csrfToken ? undefined : [],
  requestInterceptor(request) {
    if (reference.dataset.csrfToken) {
      request.headers["X-CSRFToken"] = reference.dataset.csrfToken;
    }
    return request;
  },
});
