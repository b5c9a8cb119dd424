/**
 * The losses of a training as a picture.
 *
 * @module
 */
import * as echarts from "npm:echarts@6.1.0";

/** Losses by step, from 1. */
export interface History {
  /** One for every step. */
  readonly losses: readonly number[];
  /** `[step, loss]` */
  readonly validations: readonly (readonly [number, number])[];
}

/** An SVG of the training and the validation loss, in nats a character. */
export function lossChart({ losses, validations }: History, title: string): string {
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width: 900, height: 480 });
  const axis = { nameLocation: "middle", nameGap: 34, scale: true } as const;
  chart.setOption({
    animation: false,
    backgroundColor: "#fff",
    title: { text: title, left: 64, top: 12 },
    legend: { right: 32, top: 16 },
    grid: { left: 64, right: 32, top: 64, bottom: 56 },
    xAxis: { type: "value", name: "step", min: 0, max: losses.length, ...axis },
    yAxis: { type: "value", name: "loss, nats a character", ...axis },
    series: [
      series("training", "#c3cfe0", 1, losses.map((loss, i) => [i + 1, loss])),
      series("training, smoothed", "#4a6fa5", 2, smooth(losses).map((loss, i) => [i + 1, loss])),
      { ...series("validation", "#d1495b", 2, validations), showSymbol: true },
    ],
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

function series(name: string, color: string, width: number, data: readonly (readonly number[])[]) {
  const rounded = data.map(([step, loss]) => [step, Number(loss.toFixed(4))]);
  return { name, type: "line" as const, color, lineStyle: { width }, showSymbol: false, symbolSize: 6, data: rounded };
}

/** The mean of each value and its neighbours, a fiftieth of all to either side. */
function smooth(values: readonly number[]): number[] {
  const reach = Math.ceil(values.length / 50);
  return values.map((_, i) => {
    const near = values.slice(Math.max(0, i - reach), i + reach + 1);
    return near.reduce((sum, value) => sum + value, 0) / near.length;
  });
}
