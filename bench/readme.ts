/**
 * Figures for a Markdown file, so that nobody copies them by hand. The file says which rows it shows:
 *
 * ```text
 * <!-- bench speed of wasm -->
 *
 * | WASM         | Tenon | jax-js |        the rows that are here are filled in, the columns are the bench's;
 * | ------------ | ----: | -----: |        with no row, all rows come
 * | matmul 512   |       |        |
 *
 * - notes: what the figures mean, the machine, the versions
 *
 * <!-- end of bench -->
 * ```
 * A row that was not timed keeps its figures, and as long as there is one, the notes stay.
 *
 * @module
 */
import { markdownLines, type Table } from "./table.ts";

/** Tables by the names that marks give them. */
export type NamedTables = ReadonlyMap<string, Table>;

const MARKED = /(<!-- bench ([^\n]+) -->\n)(.*?)(\n<!-- end of bench -->)/gs;

/** The text with the tables between its marks filled in; a mark whose table is not here keeps what it has. */
export function fillTables(text: string, tables: NamedTables): string {
  return text.replace(MARKED, (whole, begin: string, name: string, old: string, end: string) => {
    const table = tables.get(name);
    return table ? `${begin}\n${markdownLines(merge(old, table)).join("\n")}\n${end}` : whole;
  });
}

/** Fills in a file. The file is whole at any time. */
export async function fillFile(path: string, tables: NamedTables): Promise<void> {
  const text = await Deno.readTextFile(path);
  if (!MARKED.test(text)) {
    throw new Error(`Cannot write figures to ${path}: it has no mark like <!-- bench startup -->`);
  }
  const temporary = `${path}.new`;
  await Deno.writeTextFile(temporary, fillTables(text, tables));
  await Deno.rename(temporary, path);
}

function cellsOf(line: string): string[] {
  return line.split("|").slice(1, -1).map((cell) => cell.trim());
}

/** The rows of `old`, with the cells of `table` where it has them. */
function merge(old: string, { columns, rows, notes }: Table): Omit<Table, "title"> {
  const lines = old.split("\n"), oldNotes = lines.filter((line) => line.startsWith("- ")).map((line) => line.slice(2));
  const [header = columns, , ...oldRows] = lines.filter((line) => line.startsWith("|")).map(cellsOf);
  if (oldRows.length === 0) return { columns: [header[0], ...columns.slice(1)], rows, notes };
  const fresh = new Map(rows.map((row) => [row[0], row]));
  const all = [...columns.slice(1), ...header.slice(1).filter((column) => !columns.includes(column))];
  const merged = oldRows.map((row) => {
    const [cells, names] = fresh.has(row[0]) ? [fresh.get(row[0])!, columns] : [row, header];
    return [row[0], ...all.map((column) => cells[names.indexOf(column, 1)] ?? "")];
  });
  const filled = all.map((_, i) => i + 1).filter((i) => merged.some((row) => row[i] !== ""));
  const pick = (row: readonly string[]) => [row[0], ...filled.map((i) => row[i])];
  const isWhole = oldRows.every(([name]) => fresh.has(name));
  return { columns: pick([header[0], ...all]), rows: merged.map(pick), notes: isWhole ? notes : oldNotes };
}
