// Runs the queries of a panel and returns data frames as Grafana's Prometheus data source does.
import { FieldType, toDataFrame } from '@grafana/data';

const STEPS = [15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

const INTERVALS = { '1m': 60, '1h': 3600 };

export async function framesOf(panel, { from, to, values, width }) {
  const answers = await Promise.all((panel.targets ?? []).map((target) => ask(panel, target, { from, to, values, width })));
  const several = answers.length > 1;
  return answers.flatMap(({ target, step, result }) =>
    target.format === 'table' ? table(target, result, several) : series(target, result, step)
  );
}

async function ask(panel, target, { from, to, values, width }) {
  const wanted = (to - from) / (panel.maxDataPoints ?? width);
  const scrape = INTERVALS[target.interval] ?? 15;
  const step = STEPS.find((step) => step >= Math.max(wanted * 0.75, scrape)) ?? 86400;
  const query = [
    ['__rate_interval', `${Math.max(step + scrape, 4 * scrape)}s`],
    ['__interval', `${step}s`],
    ['__range', `${to - from}s`],
    ...Object.entries(values),
  ].reduce((text, [name, value]) => text.replaceAll(`$${name}`, value), target.expr);
  const align = (at) => Math.floor(at / step) * step;
  const [path, more] = target.instant
    ? ['query', { time: to }]
    : ['query_range', { start: align(from), end: align(to), step }];
  const answer = await fetch(`/api/v1/${path}?${new URLSearchParams({ query, ...more })}`);
  const body = await answer.json();
  if (body.status !== 'success') {
    throw new Error(`${panel.title}: ${body.error}`);
  }
  return { target, step, result: body.data.result };
}

function series(target, result, step) {
  return result.map(({ metric, values, value }) => {
    const samples = values ?? [value];
    const name = (target.legendFormat ?? '').replace(/{{\s*(\w+)\s*}}/g, (_, label) => metric[label] ?? '');
    return toDataFrame({
      refId: target.refId,
      name,
      fields: [
        { name: 'Time', type: FieldType.time, config: { interval: step * 1000 }, values: samples.map(([at]) => at * 1000) },
        { name: 'Value', type: FieldType.number, labels: metric, config: { displayNameFromDS: name }, values: samples.map(([, number]) => Number(number)) },
      ],
    });
  });
}

function table(target, result, several) {
  if (result.length === 0) {
    return [];
  }
  const labels = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))].sort();
  return [
    toDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: result.map(({ value }) => value[0] * 1000) },
        ...labels.map((label) => ({ name: label, type: FieldType.string, values: result.map(({ metric }) => metric[label]) })),
        { name: several ? `Value #${target.refId}` : 'Value', type: FieldType.number, values: result.map(({ value }) => Number(value[1])) },
      ],
    }),
  ];
}
