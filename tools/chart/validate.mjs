// Validates objects of the Prometheus operator with its published models (@kubernetes-models/prometheus-operator), which
// scripts/fetch-tools installs. Reads a JSON list of objects, and says for each what is wrong with it.
//
//   node validate.mjs DIRECTORY_WITH_NODE_MODULES <OBJECTS
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [directory] = process.argv.slice(2);
const models = pathToFileURL(`${directory}/node_modules/@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/`);
const wrong = [];
for (const object of JSON.parse(readFileSync(0, 'utf8'))) {
  const what = `${object.kind}/${object.metadata?.name}`;
  try {
    const { [object.kind]: Model } = await import(new URL(`${object.kind}.js`, models));
    new Model(object).validate();
  } catch (error) {
    wrong.push(`${what}: ${error.message}`);
  }
}
if (wrong.length > 0) {
  console.error(wrong.join('\n'));
  process.exit(1);
}
