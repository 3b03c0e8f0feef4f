// The faults that the check must find, each with a part of the message that it must print.
const OVERVIEW = 'partner-license-overview';
const DETAIL = 'partner-license-detail';
const EXPORTER = 'partner-license-exporter';

const panel = (json, title) => json.panels.find((panel) => panel.title === title);
const defaults = (json, title) => panel(json, title).fieldConfig.defaults;

export const faults = [
  ['a unit that does not exist', OVERVIEW, 'there is no unit "percents"', (json) => (defaults(json, 'Usage over time').unit = 'percents')],
  ['a unit of an override', OVERVIEW, 'there is no unit "dateTimeFromNowish"', (json) => {
    const since = panel(json, 'Every row').fieldConfig.overrides.find(({ matcher }) => matcher.options === 'Below since');
    since.properties[0].value = 'dateTimeFromNowish';
  }],
  ['a transformation that does not exist', OVERVIEW, 'there is no transformation "merged"', (json) => (panel(json, 'Every row').transformations[0].id = 'merged')],
  ['a matcher that does not exist', OVERVIEW, 'there is no matcher "byNamed"', (json) => (panel(json, 'Every row').fieldConfig.overrides[0].matcher.id = 'byNamed')],
  ['a reducer that does not exist', EXPORTER, 'there is no reducer "total"', (json) => panel(json, 'Memory').options.legend.calcs.push('total')],
  ['a colour that does not exist', OVERVIEW, 'there is no colour "reddish"', (json) => (defaults(json, 'Below threshold').thresholds.steps[1].color = 'reddish')],
  ['a colour mode that does not exist', DETAIL, 'there is no colour mode "palettes"', (json) => (defaults(json, 'Usage and threshold').color.mode = 'palettes')],
  ['a mapping that does not exist', EXPORTER, 'there is no mapping "values"', (json) => (defaults(json, 'Configuration').mappings[0].type = 'values')],
  ['a panel that does not exist any more', DETAIL, 'Headroom: ', (json) => (panel(json, 'Headroom').type = 'graph')],
  ['a value that an enumeration does not have', DETAIL, '"steps"', (json) => (defaults(json, 'Headroom').custom.lineInterpolation = 'steps')],
  ['an option that does not exist', OVERVIEW, 'minVizHeights', (json) => (panel(json, 'Usage now, by distance from the threshold').options.minVizHeights = 1)],
  ['an option that does not exist any more', OVERVIEW, 'footer', (json) => (panel(json, 'Every row').options.footer = { show: false })],
  ['an option that is missing', EXPORTER, 'rowHeight', (json) => delete panel(json, 'Outcome of the last poll').options.rowHeight],
  ['a setting of fields that does not exist', DETAIL, 'spanNull', (json) => (defaults(json, 'Headroom').custom.spanNull = false)],
  ['a setting of an override that does not exist', OVERVIEW, 'cellOption', (json) => {
    panel(json, 'Every row').fieldConfig.overrides.find(({ matcher }) => matcher.options === 'Usage').properties[0].id = 'custom.cellOption';
  }],
  ['a value of an override that does not exist', OVERVIEW, 'gauges', (json) => {
    panel(json, 'Every row').fieldConfig.overrides.find(({ matcher }) => matcher.options === 'Usage').properties[0].value.type = 'gauges';
  }],
  ['a misspelt place', EXPORTER, '"hight"', (json) => (panel(json, 'Memory').gridPos = { x: 0, y: 0, w: 8, hight: 7 })],
  ['a target without a query', EXPORTER, 'expr', (json) => delete panel(json, 'Memory').targets[0].expr],
  ['a target that is neither a moment nor a range', EXPORTER, 'instant', (json) => (panel(json, 'Memory').targets[0].instant = true)],
  ['a variable that is refreshed on something', OVERVIEW, 'VariableRefresh', (json) => (json.templating.list[1].refresh = 'always')],
  ['a link with an unknown property', OVERVIEW, 'keepsTime', (json) => (json.links[0].keepsTime = true)],
  ['a crosshair that does not exist', OVERVIEW, 'DashboardCursorSync', (json) => (json.graphTooltip = 3)],
  ["an export of Grafana's new model", DETAIL, 'apiVersion', (json) => {
    Object.keys(json).forEach((key) => delete json[key]);
    Object.assign(json, { apiVersion: 'dashboard.grafana.app/v2', kind: 'Dashboard', spec: { elements: {} } });
  }],
].map(([name, uid, found, plant]) => ({ name, uid, found, plant }));
