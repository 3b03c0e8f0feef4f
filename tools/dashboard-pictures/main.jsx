// Renders one dashboard as a page: its panels, with Grafana's components, at the positions in its JSON.
//
//   /?uid=UID&at=SECONDS[&var-NAME=VALUE…]
//
// The page around the panels is simpler than Grafana's. A panel whose component is not published outside Grafana is a
// box that says so.
import {
  EventBusSrv,
  FieldConfigOptionsRegistry,
  ThemeContext,
  applyFieldOverrides,
  cacheFieldDisplayNames,
  createTheme,
  dateTime,
  displayNameOverrideProcessor,
  getFieldDisplayValues,
  identityOverrideProcessor,
  standardTransformers,
  standardTransformersRegistry,
  thresholdsOverrideProcessor,
  transformDataFrame,
  valueMappingsOverrideProcessor,
} from '@grafana/data';
import { BarGauge, BigValue, GlobalStyles, PanelChrome, PanelContextProvider, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { createRoot } from 'react-dom/client';
import { firstValueFrom } from 'rxjs';

import '@fontsource/inter/latin-400.css';
import '@fontsource/inter/latin-500.css';

import { framesOf } from './query.js';

const WIDTH = 1440;
const CELL = 30;
const GAP = 8;

const theme = createTheme({ colors: { mode: 'light' } });
const transformers = new Map(Object.values(standardTransformers).map((one) => [one.id, one]));
standardTransformersRegistry.setInit(() =>
  [...transformers.values()].map((transformation) => ({ id: transformation.id, name: transformation.name, transformation: async () => transformation }))
);

const context = { eventsScope: 'page', eventBus: new EventBusSrv(), sync: () => 0 };

const property = (path, process = identityOverrideProcessor) => ({
  id: path,
  path: path.replace(/^custom\./, ''),
  isCustom: path.startsWith('custom.'),
  name: path,
  process,
  override: () => null,
  editor: () => null,
  shouldApply: () => true,
  getItemsCount: () => 0,
});
const STANDARD = ['unit', 'min', 'max', 'decimals', 'noValue', 'links', 'color'];

// In Grafana each panel type registers its settings; here, the settings that the dashboard uses are registered.
function registryOf(dashboard) {
  const configs = dashboard.panels.map(({ fieldConfig }) => fieldConfig).filter(Boolean);
  const defaults = configs.flatMap(({ defaults }) => Object.keys(defaults.custom ?? {}).map((name) => `custom.${name}`));
  const overrides = configs.flatMap(({ overrides }) => overrides.flatMap(({ properties }) => properties.map(({ id }) => id)));
  const custom = new Set([...defaults, ...overrides.filter((id) => id.startsWith('custom.'))]);
  return new FieldConfigOptionsRegistry(() => [
    ...[...STANDARD, ...custom].map((path) => property(path)),
    property('displayName', displayNameOverrideProcessor),
    property('thresholds', thresholdsOverrideProcessor),
    property('mappings', valueMappingsOverrideProcessor),
  ]);
}

async function load(panel, registry, page) {
  const frames = await framesOf(panel, { ...page, width: (panel.gridPos.w / 24) * WIDTH });
  const interpolate = (text) => text;
  const steps = (panel.transformations ?? []).map((step) => ({ ...step }));
  const transformed = steps.length === 0 ? frames : await firstValueFrom(transformDataFrame(steps, frames, { interpolate }));
  const data = applyFieldOverrides({
    data: transformed,
    fieldConfig: panel.fieldConfig,
    fieldConfigRegistry: registry,
    replaceVariables: interpolate,
    theme,
    timeZone: 'utc',
  });
  cacheFieldDisplayNames(data);
  return data;
}

function Stat({ panel, data, width, height }) {
  const { options, fieldConfig } = panel;
  const values = () =>
    getFieldDisplayValues({ fieldConfig, reduceOptions: options.reduceOptions, replaceVariables: (text) => text, theme, data, timeZone: 'utc' });
  const one = ({ value, width, height, count }) => (
    <BigValue
      value={value.display}
      width={width}
      height={height}
      colorMode={options.colorMode}
      graphMode={options.graphMode}
      justifyMode={options.justifyMode}
      textMode={options.textMode === 'auto' ? (count > 1 ? 'value_and_name' : 'value') : options.textMode}
      wideLayout={options.wideLayout}
      count={count}
      theme={theme}
      text={{}}
    />
  );
  return <VizRepeater getValues={values} renderValue={one} width={width} height={height} source={data} autoGrid orientation={options.orientation} renderCounter={0} itemSpacing={3} />;
}

function Bars({ panel, data, width, height }) {
  const { options, fieldConfig } = panel;
  const values = () =>
    getFieldDisplayValues({ fieldConfig, reduceOptions: options.reduceOptions, replaceVariables: (text) => text, theme, data, timeZone: 'utc' });
  const longest = (key) => values().map(({ display }) => display[key] ?? '').reduce((a, b) => (b.length > a.length ? b : a), '');
  const factors = { title: longest('title'), text: longest('text'), suffix: longest('suffix') };
  const one = ({ value, width, height, orientation }) => (
    <BarGauge
      value={value.display}
      field={value.field}
      display={value.view?.getFieldDisplayProcessor(value.colIndex ?? 0)}
      width={width}
      height={height}
      orientation={orientation}
      displayMode={options.displayMode}
      showUnfilled={options.showUnfilled}
      valueDisplayMode={options.valueMode}
      namePlacement={options.namePlacement}
      alignmentFactors={factors}
      itemSpacing={8}
      theme={theme}
      text={{}}
    />
  );
  return (
    <VizRepeater getValues={values} renderValue={one} width={width} height={height} minVizHeight={options.minVizHeight} maxVizHeight={options.maxVizHeight} source={data} orientation={options.orientation} renderCounter={0} itemSpacing={8} />
  );
}

function Visualization({ panel, data, width, height, range }) {
  if (data.length === 0) {
    return <Note>{panel.fieldConfig.defaults.noValue ?? 'No data'}</Note>;
  }
  switch (panel.type) {
    case 'stat':
      return <Stat panel={panel} data={data} width={width} height={height} />;
    case 'bargauge':
      return <Bars panel={panel} data={data} width={width} height={height} />;
    case 'table':
      return <TableNG data={data[0]} width={width} height={height} sortBy={panel.options.sortBy} noValue={panel.fieldConfig.defaults.noValue} cellHeight={panel.options.cellHeight} fieldConfig={panel.fieldConfig} timeRange={range} structureRev={1} />;
    case 'timeseries':
      return <TimeSeries frames={data} width={width} height={height} timeRange={range} timeZone="utc" legend={panel.options.legend} options={panel.options} replaceVariables={(text) => text} structureRev={1} />;
    default:
      return <Note>{`${panel.type}: not rendered, its component is not published outside Grafana`}</Note>;
  }
}

function Note({ children }) {
  return <div style={{ height: '100%', display: 'grid', placeItems: 'center', color: theme.colors.text.secondary, textAlign: 'center' }}>{children}</div>;
}

function Page({ dashboard, panels, range }) {
  const column = WIDTH / 24;
  const place = ({ x, y, w, h }) => ({ position: 'absolute', left: x * column, top: 48 + y * (CELL + GAP), width: w * column - GAP, height: h * (CELL + GAP) - GAP });
  const bottom = Math.max(...panels.map(({ panel: { gridPos } }) => gridPos.y + gridPos.h));
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <PanelContextProvider value={context}>
        <div id="page" style={{ position: 'relative', margin: GAP, width: WIDTH, height: 48 + bottom * (CELL + GAP) }}>
          <h3 style={{ padding: '8px 0' }}>{dashboard.title}</h3>
          {panels.map(({ panel, data }) => (
            <div key={panel.id} style={place(panel.gridPos)}>
              {panel.type === 'row' ? (
                <h5 style={{ paddingTop: 6 }}>{panel.title}</h5>
              ) : (
                <PanelChrome title={panel.title} width={panel.gridPos.w * column - GAP} height={panel.gridPos.h * (CELL + GAP) - GAP} description={panel.description}>
                  {(width, height) => <Visualization panel={panel} data={data} width={width} height={height} range={range} />}
                </PanelChrome>
              )}
            </div>
          ))}
        </div>
      </PanelContextProvider>
    </ThemeContext.Provider>
  );
}

async function main() {
  const parameters = new URLSearchParams(location.search);
  const text = await (await fetch(`/dashboards/${parameters.get('uid')}.json`)).text();
  // JSON has no infinity: like Grafana, read a null value as the lowest threshold.
  const dashboard = JSON.parse(text, (key, value) => (key === 'value' && value === null ? -Infinity : value));
  const to = Math.floor(Number(parameters.get('at')));
  const days = Number(/^now-(\d+)d$/.exec(dashboard.time.from)[1]);
  const from = to - days * 86400;
  const variables = dashboard.templating.list.filter(({ type }) => type === 'query');
  const values = Object.fromEntries(variables.map(({ name, allValue }) => [name, parameters.get(`var-${name}`) ?? allValue ?? '.+']));
  const range = { from: dateTime(from * 1000), to: dateTime(to * 1000), raw: { from: dateTime(from * 1000), to: dateTime(to * 1000) } };
  const registry = registryOf(dashboard);
  await Promise.all(['400', '500'].map((weight) => document.fonts.load(`${weight} 12px Inter`)));
  const panels = await Promise.all(
    dashboard.panels.map(async (panel) => ({ panel, data: panel.type === 'row' ? [] : await load(panel, registry, { from, to, values }) }))
  );
  createRoot(document.getElementById('root'), { onUncaughtError: failed }).render(<Page dashboard={dashboard} panels={panels} range={range} />);
}

function failed(error) {
  document.body.innerText = `FAILED ${error.stack}`;
}

main().catch(failed);
