/**
 * What this engine can do, found by asking it to validate a module of one instruction.
 *
 * @module
 */
import { Assembler, type Features } from "./assembler.ts";
import { f32x4, v128 } from "./simd.ts";

function validates(features: Features, build: (module: Assembler) => void): boolean {
  const module = new Assembler(features);
  build(module);
  return WebAssembly.validate(module.bytes());
}

function supportsSimd(): boolean {
  return validates({ relaxedSimd: false, sharedMemory: false }, (module) => {
    const f = module.func("zero", ["v128"], "v128");
    f.return(v128.not(f32x4.const(0)));
  });
}

function supportsRelaxedSimd(): boolean {
  return validates({ relaxedSimd: true, sharedMemory: false }, (module) => {
    const f = module.func("zero", ["v128"], "v128");
    const zero = f32x4.const(0);
    f.return(f.madd(zero, zero, zero));
  });
}

function supportsSharedMemory(): boolean {
  if (typeof SharedArrayBuffer === "undefined") return false;
  try {
    return new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }).buffer instanceof SharedArrayBuffer;
  } catch {
    return false;
  }
}

/** The features to generate code with, or null where the engine has no SIMD at all. */
export function detectFeatures(): Features | null {
  if (typeof WebAssembly === "undefined" || !supportsSimd()) return null;
  return { relaxedSimd: supportsRelaxedSimd(), sharedMemory: supportsSharedMemory() };
}
