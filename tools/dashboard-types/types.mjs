// Finds the parts of dashboards that do not have the types that @grafana/schema declares for them.
import { join } from 'node:path';

import ts from 'typescript';

// For each panel type, the module with its options, and whether that module has a FieldConfig.
const PANELS = {
  bargauge: ['bargauge/panelcfg/x/BarGaugePanelCfg_types.gen', false],
  stat: ['stat/panelcfg/x/StatPanelCfg_types.gen', false],
  'state-timeline': ['statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen', true],
  table: ['table/panelcfg/x/TablePanelCfg_types.gen', true],
  timeseries: ['timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen', true],
};

const each = (write) => Object.entries(PANELS).map(([type, [path, ownFields]], n) => write({ type, path, ownFields, n })).join('\n');
const PRELUDE = `
import type { AnnotationContainer, Dashboard, DashboardLink, FieldConfig, MatcherConfig, Panel, RowPanel, VariableModel } from '@grafana/schema';
${each(({ path, n }) => `import type * as P${n} from '@grafana/schema/dist/esm/raw/composable/${path}';`)}

// JSON has the values of enumerations, not their members.
type Json<T> = T extends string ? \`\${T}\` : T extends (infer U)[] ? Json<U>[] : T extends object ? { [K in keyof T]: Json<T[K]> } : T;

// The package has no type for Prometheus queries: these are the properties that Grafana's data source reads.
type Target = {
  refId: string;
  datasource: { type: 'prometheus'; uid: string };
  expr: string;
  legendFormat?: string;
  editorMode?: 'code' | 'builder';
  format?: 'time_series' | 'table' | 'heatmap';
  interval?: string;
} & ({ instant: true; range: false } | { instant?: false; range: true });

export type Property<F> = Json<Partial<Omit<FieldConfig, 'custom'>>> & { custom?: Json<Partial<F>> };
type Drawn<Type, O, F> = Json<Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets'>> & {
  type: Type;
  id: number;
  title: string;
  targets: Target[];
  options: Json<O>;
  fieldConfig: { defaults: Property<F>; overrides: { matcher: Json<MatcherConfig>; properties: { id: string; value?: unknown }[] }[] };
};
${each(({ ownFields, n }) => `export type Field${n} = ${ownFields ? `P${n}.FieldConfig` : 'Record<never, never>'};`)}
${each(({ type, n }) => `export type Panel${n} = Drawn<'${type}', P${n}.Options, Field${n}>;`)}
export type Row = Json<Omit<RowPanel, 'panels'>> & { panels: [] };
export type Top = Json<Omit<Dashboard, 'panels' | 'templating' | 'annotations' | 'links'>> & {
  uid: string;
  schemaVersion: number;
  templating: { list: (Json<VariableModel> & { definition?: string })[] };
  annotations: Json<AnnotationContainer>;
  links: Json<DashboardLink>[];
};
`;

// Returns the errors of each dashboard. All of them are one program, because loading the types takes longest.
export function typeErrors(dashboards) {
  const files = new Map([['prelude.ts', PRELUDE]]);
  const places = new Map();
  dashboards.forEach((dashboard, n) => {
    const { text, statements } = source(dashboard.json);
    files.set(`dashboard${n}.ts`, text);
    places.set(`dashboard${n}.ts`, { dashboard, statements });
  });
  const found = new Map(dashboards.map((dashboard) => [dashboard, []]));
  for (const { file, start, messageText } of diagnostics(files)) {
    const said = ts.flattenDiagnosticMessageText(messageText, '\n');
    const place = file && places.get(file.fileName.split('/').pop());
    if (!place) {
      throw new Error(`${file?.fileName}: ${said}`);
    }
    const statement = place.statements.findLast((statement) => statement.start <= start);
    found.get(place.dashboard).push(`${statement.of}: ${said}`);
  }
  return found;
}

function diagnostics(files) {
  const here = import.meta.dirname;
  const options = { strict: true, noEmit: true, skipLibCheck: true, types: [], target: ts.ScriptTarget.ESNext, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext };
  const host = ts.createCompilerHost(options);
  const inMemory = (path) => files.get(path.startsWith(here) ? path.slice(here.length + 1) : path);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (path) => inMemory(path) !== undefined || fileExists(path);
  host.readFile = (path) => inMemory(path) ?? readFile(path);
  host.getSourceFile = (path, ...more) =>
    inMemory(path) === undefined ? getSourceFile(path, ...more) : ts.createSourceFile(path, inMemory(path), options.target, true);
  return ts.getPreEmitDiagnostics(ts.createProgram([...files.keys()].map((path) => join(here, path)), options, host));
}

// Returns a program in which each part of a dashboard must satisfy its type.
function source(dashboard) {
  let text = `import type * as T from './prelude.js';\n`;
  const statements = [{ start: 0, of: 'the dashboard' }];
  const demand = (of, json, type) => {
    statements.push({ start: text.length, of });
    text += `(${JSON.stringify(json)}) satisfies ${type};\n`;
  };
  const { panels = [], ...top } = dashboard;
  demand('the dashboard', top, 'T.Top');
  for (const panel of panels) {
    const n = Object.keys(PANELS).indexOf(panel.type);
    if (n === -1) {
      demand(panel.title, panel, panel.type === 'row' ? 'T.Row' : 'never');
      continue;
    }
    demand(panel.title, panel, `T.Panel${n}`);
    for (const { id, value } of (panel.fieldConfig?.overrides ?? []).flatMap(({ properties }) => properties)) {
      const custom = id.match(/^custom\.(.*)/)?.[1];
      demand(`${panel.title}, ${id}`, custom ? { custom: { [custom]: value } } : { [id]: value }, `T.Property<T.Field${n}>`);
    }
  }
  return { text, statements };
}
