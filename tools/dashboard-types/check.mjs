// Checks dashboards against Grafana's published packages: the types of dashboards and panels (@grafana/schema, with the
// TypeScript compiler), and the names of units, transformations, matchers, reducers and colours (@grafana/data). Then
// checks itself: it must find each fault of a list.
//
//   node check.mjs DASHBOARD…
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';

import { faults } from './faults.mjs';
import { unknownNames } from './registries.mjs';
import { typeErrors } from './types.mjs';

const dashboards = process.argv.slice(2).map((file) => ({ name: basename(file, '.json'), json: JSON.parse(readFileSync(file, 'utf8')) }));
if (dashboards.length === 0) {
  throw new Error('no dashboards to check');
}

const planted = faults.map(({ name, uid, plant, found }) => {
  const json = structuredClone(dashboards.find((dashboard) => dashboard.json.uid === uid).json);
  const before = JSON.stringify(json);
  plant(json);
  if (JSON.stringify(json) === before) {
    throw new Error(`${name}: planting the fault changed nothing`);
  }
  return { name, json, found };
});

const types = typeErrors([...dashboards, ...planted]);
const findings = (dashboard) => [...unknownNames(dashboard.json), ...types.get(dashboard)];

const wrong = dashboards.flatMap((dashboard) => findings(dashboard).map((said) => `${dashboard.name}: ${said}`));
const missed = planted.filter((dashboard) => !findings(dashboard).some((said) => said.includes(dashboard.found)));
wrong.push(...missed.map((dashboard) => `${dashboard.name}: ${JSON.stringify(dashboard.found)} is not among ${JSON.stringify(findings(dashboard), null, 2)}`));

if (wrong.length > 0) {
  console.error(wrong.join('\n'));
  process.exit(1);
}
console.log(`${dashboards.length} dashboards have no fault; ${planted.length} of ${planted.length} faults were found`);
