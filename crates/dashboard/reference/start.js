// @ts-check
// The API reference, from this server's OpenAPI document.

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
