/**
 * Comma-separated values, as RFC 4180 says (https://www.rfc-editor.org/rfc/rfc4180).
 *
 * @module
 */
import { ArgumentError, FormatError } from "../../core/errors.ts";
import type { HostArray } from "./dataset.ts";
import { named, readText, type Source } from "./source.ts";

/** Rows of text under named columns. */
export interface Table {
  /** Names of the columns, from left to right. */
  readonly columns: readonly string[];
  /** Fields, as many in each row as there are columns. */
  readonly rows: readonly (readonly string[])[];
}

/** How a file is written. */
export interface CsvOptions {
  /** The character between two fields; a comma by default. */
  readonly separator?: string;
  /** Whether the first row names the columns, as it does by default; otherwise they are `0`, `1`, ... */
  readonly header?: boolean;
}

/**
 * Reads a CSV file; see {@linkcode parseCsv}.
 *
 * @throws {FormatError} If it is not well formed.
 * @throws {Error} If the source cannot be read.
 */
export async function readCsv(source: Source, options: CsvOptions = {}): Promise<Table> {
  const text = await readText(source);
  return named(source, () => parseCsv(text, options));
}

/**
 * Rows and fields of a text. A field in quotation marks may hold separators, line ends, and quotation marks that are
 * written twice; lines end in CR LF or LF. Empty lines are left out.
 *
 * @throws {FormatError} That names the line where a row has another number of fields than the first one, or quotation
 * marks are out of place.
 * @example
 * ```ts
 * import { categories, numbers, parseCsv } from "@tenon/ml/train/data";
 * import { assertEquals } from "@std/assert";
 *
 * const table = parseCsv('width,height,kind\n1,2,"a ""big"" one"\n3,4.5,small\n');
 * assertEquals([...numbers(table, ["width", "height"]).data], [1, 2, 3, 4.5]);
 * assertEquals(categories(table, "kind").names, ['a "big" one', "small"]);
 * ```
 */
export function parseCsv(text: string, { separator = ",", header = true }: CsvOptions = {}): Table {
  if (separator.length !== 1 || /["\r\n]/.test(separator)) {
    throw new ArgumentError(`Cannot separate fields by ${JSON.stringify(separator)}: it takes one character`);
  }
  const rows: string[][] = [];
  const reader = { text, at: 0, line: 1 };
  while (reader.at < text.length) {
    const { line } = reader, row = readRow(reader, separator);
    if (row.length === 1 && row[0] === "") continue;
    if (rows.length > 0 && row.length !== rows[0].length) {
      throw new FormatError(`line ${line} has ${row.length} fields, the first one ${rows[0].length}`);
    }
    rows.push(row);
  }
  const columns = header ? rows.shift() : rows[0]?.map((_, i) => String(i));
  return { columns: columns ?? [], rows };
}

/** Where a text is being read. */
interface Reader {
  readonly text: string;
  at: number;
  line: number;
}

/** The fields up to the end of the line, which is passed. */
function readRow(reader: Reader, separator: string): string[] {
  const { text } = reader, row: string[] = [];
  for (;;) {
    row.push(text[reader.at] === '"' ? readQuoted(reader) : readPlain(reader, separator));
    const next = text[reader.at];
    if (next === separator) {
      reader.at++;
      continue;
    }
    const end = next === "\r" && text[reader.at + 1] === "\n" ? 2 : next === "\n" ? 1 : 0;
    if (end === 0 && next !== undefined) {
      throw new FormatError(
        `line ${reader.line} has ${JSON.stringify(next)} after a quotation mark that closes a field`,
      );
    }
    reader.at += end;
    reader.line++;
    return row;
  }
}

function readPlain(reader: Reader, separator: string): string {
  const { text, at: start } = reader;
  for (; reader.at < text.length; reader.at++) {
    const char = text[reader.at];
    if (char === separator || char === "\n" || (char === "\r" && text[reader.at + 1] === "\n")) break;
    if (char === '"') throw new FormatError(`line ${reader.line} has a quotation mark inside a field without any`);
  }
  return text.slice(start, reader.at);
}

function readQuoted(reader: Reader): string {
  const { text, line } = reader, parts: string[] = [];
  for (reader.at++;;) {
    const end = text.indexOf('"', reader.at);
    if (end < 0) throw new FormatError(`the quotation mark that opens a field in line ${line} is never closed`);
    const part = text.slice(reader.at, end);
    parts.push(part);
    reader.line += part.split("\n").length - 1;
    reader.at = end + 1;
    if (text[reader.at] !== '"') return parts.join('"');
    reader.at++;
  }
}

function placeOf({ columns }: Table, column: string): number {
  const at = columns.indexOf(column);
  if (at < 0) throw new ArgumentError(`Cannot find the column "${column}": there are ${columns.join(", ")}`);
  return at;
}

/**
 * Columns of numbers, all of them by default: f32 `[rows, columns]`.
 *
 * @throws {ArgumentError} If there is no such column.
 * @throws {FormatError} That names the field which is no number.
 */
export function numbers(table: Table, columns: readonly string[] = table.columns): HostArray<Float32Array> {
  const places = columns.map((column) => placeOf(table, column));
  const data = new Float32Array(table.rows.length * places.length);
  table.rows.forEach((row, i) =>
    places.forEach((place, j) => {
      const field = row[place], value = field.trim() === "" ? NaN : Number(field);
      if (Number.isNaN(value)) {
        throw new FormatError(`Cannot read ${JSON.stringify(field)} as a number: row ${i} of column "${columns[j]}"`);
      }
      data[i * places.length + j] = value;
    })
  );
  return { data, shape: [table.rows.length, places.length] };
}

/** A column of names as numbers. */
export interface Categories {
  /** Each row's place in `names`: i32 `[rows]`. */
  readonly labels: HostArray<Int32Array>;
  /** The different names, sorted. */
  readonly names: readonly string[];
}

/**
 * A column of names as numbers, by the sorted names.
 *
 * @throws {ArgumentError} If there is no such column.
 */
export function categories(table: Table, column: string): Categories {
  const at = placeOf(table, column);
  const names = [...new Set(table.rows.map((row) => row[at]))].sort();
  const places = new Map(names.map((name, place) => [name, place]));
  const data = Int32Array.from(table.rows, (row) => places.get(row[at])!);
  return { labels: { data, shape: [data.length] }, names };
}
