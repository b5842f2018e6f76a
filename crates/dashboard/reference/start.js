// @ts-check
// The API reference, from this server's OpenAPI document.
import { startConfirming } from "./confirm.js";
import { word } from "./words.js";

/** @type {HTMLElement} */ (document.getElementById("back")).textContent = `← ${word("back")}`;
startConfirming();

/** @type {any} */ (window).SwaggerUIBundle({
  dom_id: "#reference",
  url: "/openapi.json",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  // The validator would send the document to another host.
  validatorUrl: null,
  // Requests from here would be executed: as a page of the server, it passes the origin check.
  tryItOutEnabled: false,
});
