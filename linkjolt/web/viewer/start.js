// Requests go to the origin of this page, whatever public address the document has.
const answer = await fetch("/openapi.json");
const spec = await answer.json();
spec.servers = [{ url: location.origin }];
globalThis.SwaggerUIBundle({
  spec,
  dom_id: "#viewer",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayOperationId: false,
  filter: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
