// Compiles every schema of the documents named as arguments in ajv's strict mode, formats known,
// and prints how many there were; fails at the first that does not compile.
import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";

const local = (schema) =>
  JSON.parse(JSON.stringify(schema).replaceAll('"#/components/schemas/', '"'));

function inline(node) {
  if (node === null || typeof node !== "object") return [];
  return Object.entries(node).flatMap(([key, value]) => {
    if (key === "example") return [];
    return key === "schema" ? [value] : inline(value);
  });
}

for (const path of process.argv.slice(2)) {
  const document = JSON.parse(readFileSync(path, "utf8"));
  const named = Object.entries(document.components.schemas);
  const ajv = new Ajv2020({ strict: true });
  formats.default(ajv);
  for (const [name, schema] of named) ajv.addSchema(local(schema), name);
  for (const [name] of named) ajv.getSchema(name);
  const others = inline([document.paths, document.components.responses]);
  for (const schema of others) ajv.compile(local(schema));
  console.log(named.length + others.length);
}
