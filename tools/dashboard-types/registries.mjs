// Finds the names in a dashboard that @grafana/data does not know.
import { createRequire } from 'node:module';

// The package reads these properties of the browser when it is loaded.
if (!globalThis.navigator?.languages) {
  Object.defineProperty(globalThis, 'navigator', { value: { languages: ['en-GB'], language: 'en-GB', userAgent: '' }, configurable: true });
}
// The package's ES modules work in bundlers only, so require() loads its CommonJS build.
const data = createRequire(import.meta.url)('@grafana/data');

const theme = data.createTheme();
const units = new Set(data.getValueFormats().flatMap(({ submenu }) => submenu.map(({ value }) => value)));
const transformations = new Set(Object.values(data.standardTransformers).map(({ id }) => id));
const matchers = new Set(data.fieldMatchers.list().map(({ id }) => id));
const reducers = new Set(data.fieldReducers.list().map(({ id }) => id));
const colourModes = new Set(data.fieldColorModeRegistry.list().map(({ id }) => id));
const mappings = new Set(Object.values(data.MappingType));
const colours = new Set(['text', 'transparent', ...theme.visualization.hues.flatMap(({ shades }) => shades.flatMap(({ name, aliases }) => [name, ...(aliases ?? [])]))]);

const isUnit = (unit) => units.has(unit) || /^(suffix|prefix):\S/.test(unit);
const isColour = (colour) => colours.has(colour) || /^#[0-9a-fA-F]{6}$/.test(colour);
// Checks of values by their key, at any depth.
const checks = {
  unit: ['unit', isUnit],
  color: ['colour', (colour) => typeof colour !== 'string' || isColour(colour)],
  fixedColor: ['colour', isColour],
};

export function unknownNames(dashboard) {
  const found = [];
  for (const panel of dashboard.panels ?? []) {
    const say = (what, name) => found.push(`${panel.title}: there is no ${what} ${JSON.stringify(name)}`);
    const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
    const properties = overrides.flatMap((override) => override.properties);
    const named = properties.map(({ id, value }) => ({ [id]: value }));

    walk([defaults, ...named], (key, value) => {
      const [what, isKnown] = checks[key] ?? [];
      if (what && !isKnown(value)) {
        say(what, value);
      }
    });
    for (const config of [defaults, ...named]) {
      if (config.color && !colourModes.has(config.color.mode)) {
        say('colour mode', config.color.mode);
      }
      for (const { type } of config.mappings ?? []) {
        if (!mappings.has(type)) {
          say('mapping', type);
        }
      }
    }
    for (const { matcher } of overrides) {
      if (!matchers.has(matcher.id)) {
        say('matcher', matcher.id);
      }
    }
    for (const { id } of panel.transformations ?? []) {
      if (!transformations.has(id)) {
        say('transformation', id);
      }
    }
    for (const reducer of [...(panel.options?.reduceOptions?.calcs ?? []), ...(panel.options?.legend?.calcs ?? [])]) {
      if (!reducers.has(reducer)) {
        say('reducer', reducer);
      }
    }
  }
  return found;
}

function walk(json, visit) {
  if (json && typeof json === 'object') {
    for (const [key, value] of Object.entries(json)) {
      visit(key, value);
      walk(value, visit);
    }
  }
}
