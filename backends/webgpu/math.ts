/**
 * WGSL functions that the scalar table calls, written once for scalars and vectors.
 *
 * The texts are templates: `F I U B` stand for `f32 i32 u32 bool` or for vectors of four, and `@name` for another
 * function of this table at the same width. WGSL's own functions are only as exact as the driver likes (errors of
 * 1e-3 are allowed for `sin`, infinities may be assumed away), so everything that matters is spelled out; infinities
 * and NaNs are made and told apart by their bits. Kernels follow Cephes, musl and fdlibm (single precision).
 *
 * @module
 */

/** Lanes that one value holds. */
export type Width = 1 | 4;

const FUNCTIONS: Readonly<Record<string, string | readonly [one: string, four: string]>> = {
  isNaN: `fn @isNaN(x: F) -> B { return (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u); }`,
  isFinite: `fn @isFinite(x: F) -> B { return (bitcast<U>(x) & U(0x7f800000u)) != U(0x7f800000u); }`,
  special: `fn @special(bits: u32) -> F { return bitcast<F>(U(bits | zero_bits)); }`,

  exp: `fn @exp(x: F) -> F {
  let c = clamp(x, F(-104.0), F(89.0));
  let n = round(c * 1.44269504);
  let r = (c - n * 0.693359375) + n * 2.12194440e-4;
  var p = fma(r, F(1.9875691500e-4), F(1.3981999507e-3));
  p = fma(p, r, F(8.3334519073e-3));
  p = fma(p, r, F(4.1665795894e-2));
  p = fma(p, r, F(1.6666665459e-1));
  p = fma(p, r, F(5.0000001201e-1));
  p = fma(p, r * r, r) + 1.0;
  let k = I(n);
  let half = k >> U(1u);
  let y = (p * bitcast<F>((half + 127) << U(23u))) * bitcast<F>((k - half + 127) << U(23u));
  return select(y, x, @isNaN(x));
}`,
  expm1: `fn @expm1(x: F) -> F {
  var p = fma(x, F(2.7557319e-6), F(2.4801587e-5));
  p = fma(p, x, F(1.9841270e-4));
  p = fma(p, x, F(1.3888889e-3));
  p = fma(p, x, F(8.3333333e-3));
  p = fma(p, x, F(4.1666667e-2));
  p = fma(p, x, F(1.6666667e-1));
  p = fma(p, x, F(0.5));
  return select(@exp(x) - 1.0, fma(p, x * x, x), abs(x) < F(0.5));
}`,
  // x = m * 2^k with m in [sqrt(1/2), sqrt(2)); log m by atanh.
  logMantissa: `fn @logMantissa(f: F) -> F {
  let s = f / (f + 2.0);
  let z = s * s;
  let w = z * z;
  let r = z * fma(w, F(0.28498786688), F(0.66666662693)) + w * fma(w, F(0.24279078841), F(0.40000972152));
  let h = 0.5 * f * f;
  return s * (h + r) - h;
}`,
  log: `fn @log(x: F) -> F {
  let tiny = x < F(1.17549435e-38);
  let bits = bitcast<I>(select(x, x * 8388608.0, tiny)) + (0x3f800000 - 0x3f3504f3);
  let k = F((bits >> U(23u)) - 127) - select(F(0.0), F(23.0), tiny);
  let f = bitcast<F>((bits & I(0x7fffff)) + 0x3f3504f3) - 1.0;
  let y = fma(k, F(0.69313812256), f + fma(k, F(9.0580006145e-6), @logMantissa(f)));
  return @logSpecial(x, y);
}`,
  logSpecial: `fn @logSpecial(x: F, y: F) -> F {
  var r = select(y, @special(0x7fc00000u), x < F(0.0));
  r = select(r, @special(0xff800000u), (bitcast<U>(x) << U(1u)) == U(0u));
  return select(r, x, @isNaN(x) | (bitcast<U>(x) == U(0x7f800000u)));
}`,
  log2: `fn @log2(x: F) -> F {
  let tiny = x < F(1.17549435e-38);
  let bits = bitcast<I>(select(x, x * 8388608.0, tiny)) + (0x3f800000 - 0x3f3504f3);
  let k = F((bits >> U(23u)) - 127) - select(F(0.0), F(23.0), tiny);
  let f = bitcast<F>((bits & I(0x7fffff)) + 0x3f3504f3) - 1.0;
  return @logSpecial(x, fma(f + @logMantissa(f), F(1.44269504), k));
}`,
  log1p: `fn @log1p(x: F) -> F {
  let s = x / (x + 2.0);
  let z = s * s;
  var p = fma(z, F(0.15384616), F(0.18181819));
  p = fma(p, z, F(0.22222222));
  p = fma(p, z, F(0.28571429));
  p = fma(p, z, F(0.4));
  p = fma(p, z, F(0.66666667));
  p = fma(p, z, F(2.0));
  return select(@log(x + 1.0), select(p * s, x, abs(x) < F(1e-7)), abs(x) < F(0.5));
}`,

  tanh: `fn @tanh(x: F) -> F {
  let a = abs(x);
  let z = x * x;
  var p = fma(z, F(-5.70498872745e-3), F(2.06390887954e-2));
  p = fma(p, z, F(-5.37397155531e-2));
  p = fma(p, z, F(1.33314422036e-1));
  p = fma(p, z, F(-3.33332819422e-1));
  let large = 1.0 - 2.0 / (@exp(2.0 * min(a, F(20.0))) + 1.0);
  let y = select(select(large, -large, x < F(0.0)), fma(p * z, x, x), a < F(0.625));
  return select(y, x, @isNaN(x));
}`,
  sigmoid: `fn @sigmoid(x: F) -> F {
  let e = @exp(-abs(x));
  let y = select(F(1.0), e, x < F(0.0)) / (1.0 + e);
  return select(y, x, @isNaN(x));
}`,
  erf: `fn @erf(x: F) -> F {
  let c = clamp(x, F(-4.0), F(4.0));
  let z = c * c;
  var p = fma(z, F(-2.72614225801306e-10), F(2.77068142495902e-8));
  p = fma(p, z, F(-2.10102402082508e-6));
  p = fma(p, z, F(-5.69250639462346e-5));
  p = fma(p, z, F(-7.34990630326855e-4));
  p = fma(p, z, F(-2.95459980854025e-3));
  p = fma(p, z, F(-1.60960333262415e-2));
  var q = fma(z, F(-1.45660718464996e-5), F(-2.13374055278905e-4));
  q = fma(q, z, F(-1.68282697438203e-3));
  q = fma(q, z, F(-7.37332916720468e-3));
  q = fma(q, z, F(-1.42647390514189e-2));
  return select(clamp(c * p / q, F(-1.0), F(1.0)), x, @isNaN(x));
}`,

  // The angle less the nearest multiple of pi / 2, and that multiple.
  quadrant: `fn @quadrant(x: F) -> F { return round(x * 0.636619772); }`,
  angle:
    `fn @angle(x: F, q: F) -> F { return ((x - q * 1.5703125) - q * 4.837512969970703125e-4) - q * 7.549789948768648e-8; }`,
  sinPart: `fn @sinPart(r: F) -> F {
  let z = r * r;
  return fma(fma(fma(z, F(-1.9515295891e-4), F(8.3321608736e-3)), z, F(-1.6666654611e-1)) * z, r, r);
}`,
  cosPart: `fn @cosPart(r: F) -> F {
  let z = r * r;
  let p = fma(fma(z, F(2.443315711809948e-5), F(-1.388731625493765e-3)), z, F(4.166664568298827e-2));
  return fma(p * z, z, fma(z, F(-0.5), F(1.0)));
}`,
  // sin(r + turn * pi / 2)
  turn: `fn @turn(x: F, q: F, by: i32) -> F {
  let r = clamp(@angle(x, q), F(-0.8), F(0.8));
  let k = I(clamp(q, F(-1e9), F(1e9))) + by;
  let y = select(@sinPart(r), @cosPart(r), (k & I(1)) != I(0));
  return select(select(y, -y, (k & I(2)) != I(0)), @special(0x7fc00000u), !@isFinite(x));
}`,
  sin: `fn @sin(x: F) -> F { return @turn(x, @quadrant(x), 0); }`,
  cos: `fn @cos(x: F) -> F { return @turn(x, @quadrant(x), 1); }`,
  tan: `fn @tan(x: F) -> F { let q = @quadrant(x); return @turn(x, q, 0) / @turn(x, q, 1); }`,

  pow: `fn @pow(x: F, y: F) -> F {
  let even = abs(y) >= F(16777216.0);
  let whole = even | (floor(y) == y);
  let odd = whole & !even & (floor(y * 0.5) * 2.0 != y);
  let a = abs(x);
  let zero = a == F(0.0);
  let infinite = bitcast<U>(a) == U(0x7f800000u);
  let edge = select(F(0.0), @special(0x7f800000u), zero == (y < F(0.0)));
  var r = select(@powPositive(select(a, F(1.0), zero | infinite), clamp(y, F(-1e30), F(1e30))), edge, zero | infinite);
  r = select(r, -r, (bitcast<I>(x) < I(0)) & odd);
  r = select(r, @special(0x7fc00000u), (x < F(0.0)) & !infinite & !whole);
  r = select(r, @special(0x7fc00000u), @isNaN(x) | @isNaN(y));
  return select(r, F(1.0), ((y == F(0.0)) & !@isNaN(y)) | ((x == F(1.0)) & !@isNaN(x)));
}`,
  high: `fn @high(x: F) -> F { return bitcast<F>(bitcast<U>(x) & U(0xfffff000u)); }`,
  // 2^(y log2 a), log2 a in two parts; a is positive and finite.
  powPositive: `fn @powPositive(a: F, y: F) -> F {
  let tiny = a < F(1.17549435e-38);
  let bits = bitcast<I>(select(a, a * 16777216.0, tiny));
  let j = bits & I(0x007fffff);
  let middle = (j > I(0x1cc471)) & (j < I(0x5db3d7));
  let upper = j >= I(0x5db3d7);
  let n = (bits >> U(23u)) - 127 - select(I(0), I(24), tiny) + select(I(0), I(1), upper);
  let ix = (j | I(0x3f800000)) - select(I(0), I(0x00800000), upper);
  let m = bitcast<F>(ix);
  let bp = select(F(1.0), F(1.5), middle);
  let u = m - bp;
  let v = 1.0 / (m + bp);
  let s = u * v;
  let sh = @high(s);
  let sumBits = ((ix >> U(1u)) & I(-4096)) | I(0x20000000);
  let sum = bitcast<F>(sumBits + I(0x00400000) + select(I(0), I(0x200000), middle));
  let sl = v * ((u - sh * sum) - sh * (m - (sum - bp)));
  let s2 = s * s;
  var r = fma(s2, F(2.0697501302e-1), F(2.3066075146e-1));
  r = fma(r, s2, F(2.7272811532e-1));
  r = fma(r, s2, F(3.3333334327e-1));
  r = fma(r, s2, F(4.2857143283e-1));
  r = fma(r, s2, F(6.0000002384e-1));
  r = r * s2 * s2 + sl * (sh + s);
  let sh2 = sh * sh;
  let th = @high(3.0 + sh2 + r);
  let tl = r - ((th - 3.0) - sh2);
  let uu = sh * th;
  let vv = sl * th + tl * s;
  let ph = @high(uu + vv);
  let pl = vv - (ph - uu);
  let zh = 9.6191406250e-1 * ph;
  let zl = -1.1736857402e-4 * ph + pl * 9.6179670095e-1 + select(F(0.0), F(1.56322085e-6), middle);
  let dp = select(F(0.0), F(5.84960938e-1), middle);
  let t = F(n);
  let t1 = @high(((zh + zl) + dp) + t);
  let t2 = zl - (((t1 - t) - dp) - zh);
  let y1 = @high(y);
  let low = (y - y1) * t1 + y * t2;
  let high = y1 * t1;
  let z = clamp(high + low, F(-160.0), F(130.0));
  let k = round(z);
  let e = select((high - k) + low, F(0.0), abs(high) > F(1000.0));
  let q = clamp(e, F(-1.0), F(1.0)) * 0.693147181;
  var p = fma(q, F(1.9875691500e-4), F(1.3981999507e-3));
  p = fma(p, q, F(8.3334519073e-3));
  p = fma(p, q, F(4.1665795894e-2));
  p = fma(p, q, F(1.6666665459e-1));
  p = fma(p, q, F(5.0000001201e-1));
  p = fma(p, q * q, q) + 1.0;
  let half = I(k) >> U(1u);
  return (p * bitcast<F>((half + 127) << U(23u))) * bitcast<F>((I(k) - half + 127) << U(23u));
}`,

  max: `fn @max(a: F, b: F) -> F { return select(select(max(a, b), b, @isNaN(b)), a, @isNaN(a)); }`,
  min: `fn @min(a: F, b: F) -> F { return select(select(min(a, b), b, @isNaN(b)), a, @isNaN(a)); }`,
  sign: `fn @sign(x: F) -> F { return select(sign(x), x, @isNaN(x)); }`,
  equal: `fn @equal(a: F, b: F) -> B { return (a == b) & !@isNaN(a); }`,
  less: `fn @less(a: F, b: F) -> B { return (a < b) & !(@isNaN(a) | @isNaN(b)); }`,
  lessEqual: `fn @lessEqual(a: F, b: F) -> B { return (a <= b) & !(@isNaN(a) | @isNaN(b)); }`,
  // The quotient may be rounded across a whole number: the remainder is put back between 0 and b.
  mod: `fn @mod(a: F, b: F) -> F {
  let q = floor(a / b);
  var r = (a - q * @high(b)) - q * (b - @high(b));
  r = select(r, r + b, (r != F(0.0)) & ((r < F(0.0)) != (b < F(0.0))));
  r = select(r, r - b, abs(r) >= abs(b));
  let inverse = select(a, b, (a != F(0.0)) & ((a < F(0.0)) != (b < F(0.0))));
  r = select(r, inverse, (bitcast<U>(abs(b)) == U(0x7f800000u)) & @isFinite(a));
  return select(r, @special(0x7fc00000u), b == F(0.0));
}`,
  divInt: `fn @divInt(a: I, b: I) -> I { return select(a / select(b, I(1), b == I(0)), I(0), b == I(0)); }`,
  divUint: `fn @divUint(a: U, b: U) -> U { return select(a / select(b, U(1u), b == U(0u)), U(0u), b == U(0u)); }`,
  modInt: `fn @modInt(a: I, b: I) -> I {
  let d = select(b, I(1), b == I(0));
  let r = a % d;
  return select(r, r + d, (r != I(0)) & ((r ^ d) < I(0)));
}`,
  modUint: `fn @modUint(a: U, b: U) -> U { return a % select(b, U(1u), b == U(0u)); }`,
  // Squaring, exponent bit by exponent bit; a negative exponent leaves 0 unless the base is 1 or -1.
  powInt: `fn @powInt(a: I, b: I) -> I {
  var r = I(1);
  var square = a;
  for (var bit = 0u; bit < 31u; bit++) {
    r = select(r, r * square, ((b >> U(bit)) & I(1)) != I(0));
    square = square * square;
  }
  let one = select(I(1), a, (b & I(1)) != I(0));
  return select(r, select(I(0), one, abs(a) == I(1)), b < I(0));
}`,
  powUint: `fn @powUint(a: U, b: U) -> U {
  var r = U(1u);
  var square = a;
  for (var bit = 0u; bit < 32u; bit++) {
    r = select(r, r * square, ((b >> U(bit)) & U(1u)) != U(0u));
    square = square * square;
  }
  return r;
}`,
  half: [
    `fn @half(x: f32) -> f32 { return unpack2x16float(pack2x16float(vec2f(x, 0.0))).x; }`,
    `fn @half(x: vec4f) -> vec4f {
  return vec4f(unpack2x16float(pack2x16float(x.xy)), unpack2x16float(pack2x16float(x.zw)));
}`,
  ],
  toInt: `fn @toInt(x: F) -> I {
  let r = select(I(clamp(x, F(-2147483648.0), F(2147483520.0))), I(0x7fffffff), x >= F(2147483648.0));
  return select(r, I(0), @isNaN(x));
}`,
  toUint: `fn @toUint(x: F) -> U {
  let r = select(U(clamp(x, F(0.0), F(4294967040.0))), U(0xffffffffu), x >= F(4294967296.0));
  return select(r, U(0u), @isNaN(x));
}`,
  toBool: `fn @toBool(x: F) -> B { return (bitcast<U>(x) & U(0x7fffffffu)) != U(0u); }`,
};

/** Bits that the compiler takes for unknown, so that it does not evaluate (and refuse) infinities and NaNs. */
const PRELUDE = `var<private> zero_bits: u32 = 0u;`;

/** A function's name at a width. */
function nameOf(name: string, width: Width): string {
  return width === 1 ? `tn_${name}` : `tn_${name}4`;
}

/** The functions that one shader calls, with all that those call. */
export class MathLibrary {
  readonly #texts = new Map<string, string>();

  /** Makes sure that the function is there at this width, and returns its name. */
  use(name: string, width: Width): string {
    const key = `${name}/${width}`;
    if (!this.#texts.has(key)) {
      this.#texts.set(key, "");
      const types = width === 1
        ? { F: "f32", I: "i32", U: "u32", B: "bool" }
        : { F: "vec4f", I: "vec4i", U: "vec4u", B: "vec4<bool>" };
      const entry = FUNCTIONS[name];
      const text = (typeof entry === "string" ? entry : entry[width === 1 ? 0 : 1])
        .replace(/@(\w+)/g, (_, callee: string) => this.use(callee, width))
        .replace(/\b[FIUB]\b/g, (letter) => types[letter as keyof typeof types]);
      this.#texts.set(key, text);
    }
    return nameOf(name, width);
  }

  /** WGSL of all functions in use. */
  text(): string {
    const texts = [...this.#texts.values()];
    return [...texts.some((text) => text.includes("zero_bits")) ? [PRELUDE] : [], ...texts].join("\n");
  }
}
