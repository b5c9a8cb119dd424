/**
 * Charts as SVG text: lines, ROC curves, points by class, bars and matrices. Everything is drawn by echarts.
 *
 * @module
 */
import * as echarts from "npm:echarts@6.1.0";

/** `[x, y]` */
export type Point = readonly [x: number, y: number];

/** Colors of series and classes, in the order in which they are given. */
const PALETTE: readonly string[] = [
  "#4a6fa5",
  "#d1495b",
  "#3c9d6d",
  "#e0a030",
  "#7d5ba6",
  "#40a5b5",
  "#b56576",
  "#7a8b3c",
  "#5c6b7a",
  "#d98cb3",
];

/** Draws one chart and lets go of it. */
function draw(option: echarts.EChartsCoreOption, width = 900, height = 480): string {
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width, height });
  chart.setOption({ animation: false, backgroundColor: "#fff", color: [...PALETTE], ...option });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

/** Where title, legend and axes lie. */
function frame(title: string) {
  return {
    title: { text: title, left: 64, top: 12 },
    legend: { type: "plain", right: 32, top: 40, itemWidth: 16 },
    grid: { left: 72, right: 32, top: 76, bottom: 56 },
  };
}

function axis(name: string) {
  return { type: "value", name, nameLocation: "middle", nameGap: 40, scale: true, axisLine: { onZero: false } };
}

/** Six digits are more than a picture shows. */
function rounded(points: readonly Point[]): number[][] {
  return points.map((point) => point.map((value) => Number(value.toPrecision(6))));
}

/** One line of a chart. */
export interface Line {
  readonly name: string;
  readonly points: readonly Point[];
  readonly color?: string;
  /** In pixels; 2 by default. */
  readonly width?: number;
  /** Whether the points themselves are marked. */
  readonly symbols?: boolean;
  readonly dashed?: boolean;
}

function lineSeries({ name, points, color, width = 2, symbols = false, dashed = false }: Line) {
  return {
    name,
    type: "line",
    ...(color === undefined ? {} : { color }),
    lineStyle: { width, type: dashed ? "dashed" : "solid" },
    showSymbol: symbols,
    symbolSize: 6,
    data: rounded(points),
  };
}

/** What {@linkcode lineChart} draws. */
export interface LineChart {
  readonly title: string;
  /** Names of the axes, with units. */
  readonly x: string;
  readonly y: string;
  readonly series: readonly Line[];
  /** Whether the vertical axis is logarithmic. */
  readonly logY?: boolean;
}

/** Curves over a common axis, such as losses by step. */
export function lineChart({ title, x, y, series, logY = false }: LineChart): string {
  const last = Math.max(...series.flatMap(({ points }) => points.slice(-1).map(([at]) => at)));
  return draw({
    ...frame(title),
    xAxis: { ...axis(x), max: last },
    yAxis: { ...axis(y), type: logY ? "log" : "value" },
    series: series.map(lineSeries),
  });
}

/** The mean of each value and its neighbours, a fiftieth of all to either side by default. */
export function smooth(values: readonly number[], reach: number = Math.ceil(values.length / 50)): number[] {
  const sums = [0]; // of all values before
  for (const value of values) sums.push(sums.at(-1)! + value);
  return values.map((_, i) => {
    const from = Math.max(0, i - reach), to = Math.min(values.length, i + reach + 1);
    return (sums[to] - sums[from]) / (to - from);
  });
}

/** Values of steps, the first of step 1, as points. */
export function byStep(values: readonly number[]): [step: number, value: number][] {
  return values.map((value, i) => [i + 1, value]);
}

/** A classifier by its rates at rising numbers of alarms; `rocCurve` of `train/metrics.ts` makes them. */
export interface RocLine {
  readonly name: string;
  readonly points: readonly { readonly falsePositiveRate: number; readonly truePositiveRate: number }[];
}

/** What {@linkcode rocChart} draws. */
export interface RocChart {
  readonly title: string;
  readonly curves: readonly RocLine[];
}

/** How many positives are found at the cost of how many false alarms, beside the diagonal of guessing. */
export function rocChart({ title, curves }: RocChart): string {
  const lines: Line[] = curves.map(({ name, points }) => ({
    name,
    points: points.map(({ falsePositiveRate, truePositiveRate }) => [falsePositiveRate, truePositiveRate]),
  }));
  const guessing: Line = { name: "guessing", points: [[0, 0], [1, 1]], color: "#b0b0b0", width: 1, dashed: true };
  const side = (name: string) => ({ ...axis(name), min: 0, max: 1, scale: false });
  return draw(
    {
      ...frame(title),
      xAxis: side("false positive rate"),
      yAxis: side("true positive rate"),
      series: [...lines, guessing].map(lineSeries),
    },
    620,
    620,
  );
}

/** What {@linkcode scatterChart} draws. */
export interface ScatterChart {
  readonly title: string;
  readonly x?: string;
  readonly y?: string;
  readonly classes: readonly { readonly name: string; readonly points: readonly Point[] }[];
}

/** Points in the plane, a color for each class. */
export function scatterChart({ title, x = "", y = "", classes }: ScatterChart): string {
  const series = classes.map(({ name, points }) => ({
    name,
    type: "scatter",
    symbolSize: 5,
    itemStyle: { opacity: 0.7 },
    data: rounded(points),
  }));
  const base = frame(title);
  return draw({ ...base, xAxis: axis(x), yAxis: axis(y), series }, 720, 720);
}

/** What {@linkcode matrixChart} draws. */
export interface MatrixChart {
  readonly title: string;
  /** What the columns are; a confusion matrix has the predicted classes there. */
  readonly x: string;
  /** What the rows are, from the top. */
  readonly y: string;
  readonly values: readonly (readonly number[])[];
  /** Names of the columns and rows; their numbers by default. */
  readonly columns?: readonly string[];
  readonly rows?: readonly string[];
}

/** A matrix of counts: the share of its row colors a cell, so that classes of all sizes are seen alike. */
export function matrixChart({ title, x, y, values, columns, rows }: MatrixChart): string {
  const names = (given: readonly string[] | undefined, count: number) =>
    given ?? Array.from({ length: count }, (_, i) => String(i));
  const cells = values.flatMap((row, i) => {
    const total = row.reduce((sum, value) => sum + value, 0) || 1;
    return row.map((value, j) => ({
      value: [j, i, Number((value / total).toFixed(4))],
      label: {
        show: value !== 0,
        formatter: String(value),
        color: value / total > 0.15 ? "#fff" : "#222",
        fontSize: 11,
      },
    }));
  });
  const labels = (name: string, data: readonly string[]) => ({
    type: "category",
    name,
    nameLocation: "middle",
    nameGap: 40,
    data: [...data],
    axisTick: { show: false },
    axisLine: { show: false },
  });
  return draw(
    {
      title: { text: title, left: 72, top: 12 },
      grid: { left: 72, right: 24, top: 56, bottom: 64 },
      xAxis: labels(x, names(columns, values[0]?.length ?? 0)),
      yAxis: { ...labels(y, names(rows, values.length)), inverse: true },
      visualMap: { show: false, min: 0, max: 1, dimension: 2, inRange: { color: SHADES } },
      series: [{ type: "heatmap", data: cells, itemStyle: { borderColor: "#fff", borderWidth: 1 } }],
    },
    680,
    680,
  );
}

/** From nothing to all, closer together where little is: rare mistakes show beside what is right. */
const SHADES: readonly string[] = Array.from({ length: 101 }, (_, i) => {
  const part = (i / 100) ** 0.4;
  const mix = (from: number, to: number) => Math.round(from + (to - from) * part);
  return `rgb(${mix(247, 43)},${mix(249, 74)},${mix(252, 125)})`;
});

/** What {@linkcode barChart} draws. */
export interface BarChart {
  readonly title: string;
  readonly y: string;
  readonly bars: readonly { readonly name: string; readonly value: number }[];
}

/** One bar a value, each with its figure above. */
export function barChart({ title, y, bars }: BarChart): string {
  return draw({
    ...frame(title),
    xAxis: { type: "category", data: bars.map(({ name }) => name) },
    yAxis: { ...axis(y), scale: false },
    series: [{
      type: "bar",
      barMaxWidth: 64,
      label: { show: true, position: "top" },
      data: bars.map(({ value }) => Number(value.toPrecision(4))),
    }],
  });
}
