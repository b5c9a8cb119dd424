/**
 * Scalar ops fused after an op: run on each finished block where they fit, after the op where they do not.
 *
 * @module
 */
import type { Region } from "../../core/program.ts";
import { size, stridesOf } from "../../core/shape.ts";
import { planLoops } from "./axes.ts";
import type { Call, Ref } from "./kernel.ts";
import type { OpCall } from "./op_call.ts";
import type { Epilogue } from "./product.ts";
import { lowerRegion } from "./region.ts";
import { analyze } from "./region_analysis.ts";

const whole = (buffer: number): Ref => ({ buffer, offset: 0 });

/** The op's epilogue for blocks of a result of `rows` by `columns`, or how it must be run instead. */
export function epilogueOf({ step, program }: OpCall, rows: number, columns: number): Epilogue | "separate" | null {
  if (!step.epilogue) return null;
  const { region, inputs } = step.epilogue;
  if (region.outer.at(-1) !== columns || size(region.outer) !== rows * columns) return "separate";
  const types = step.outputs.map((buffer) => program.buffers[buffer].dtype);
  return {
    analysis: analyze(planLoops(region, true), region.stores.map((store) => types[store.output])),
    inputs: inputs.map(whole),
    outputs: step.outputs.map(whole),
  };
}

/** An epilogue that only stores: for blocks that are computed apart from the result. */
export function storeOnly({ outputs: [out] }: OpCall, rows: number, columns: number): Epilogue {
  const region: Region = {
    outer: [rows, columns],
    inner: [],
    body: [{ kind: "result", dtype: "f32" }],
    stores: [{ value: 0, output: 0, strides: [columns, 1], offset: 0 }],
  };
  return { analysis: analyze(planLoops(region, true), ["f32"]), inputs: [], outputs: [out.ref] };
}

/** Lowers an op without its epilogue into temporary memory, if it has one, and the epilogue as a region after it. */
export function withSeparateEpilogue(call: OpCall, lower: (plain: OpCall) => Call[]): Call[] {
  const { step, program, outputs: [out] } = call;
  if (!step.epilogue) return lower(call);
  const { region, inputs } = step.epilogue;
  const ref = call.temporary(4 * size(out.shape));
  const result = { kind: "load", input: inputs.length, strides: stridesOf(region.outer), offset: 0 } as const;
  const body = region.body.map((instr) => instr.kind === "result" ? { ...result, dtype: instr.dtype } : instr);
  const { epilogue: _, ...plain } = step;
  const calls = lower({ ...call, step: plain, outputs: [{ ...out, ref }] });
  const after = lowerRegion({
    name: call.name,
    region: { ...region, body },
    inputs: [...inputs.map(whole), ref],
    outputs: step.outputs.map(whole),
    outputTypes: step.outputs.map((buffer) => program.buffers[buffer].dtype),
  }, call.temporary);
  return [...calls, ...after];
}
