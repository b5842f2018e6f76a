// @ts-check
// The reference, from the document that this server sends.

/** @type {any} */ (window).SwaggerUIBundle({
  dom_id: "#reference",
  url: "/openapi.json",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  // It would ask another host about the document.
  validatorUrl: null,
  // What is tried out here is done: it is the server's own page, so it may.
  tryItOutEnabled: false,
});
