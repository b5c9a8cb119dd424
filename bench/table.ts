/**
 * Tables for the terminal and for Markdown.
 *
 * @module
 */

/** Text in rows and columns; the first column is left-aligned, the others right. */
export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Lines underneath: what the figures mean, and what is missing and why. */
  readonly notes: readonly string[];
}

/** How a table is written. */
export type Format = "text" | "markdown";

/** The width of each column, and cells padded to it. */
function layOut({ columns, rows }: Pick<Table, "columns" | "rows">) {
  const widths = columns.map((column, i) => Math.max(column.length, ...rows.map((row) => row[i].length)));
  const align = (cells: readonly string[]) =>
    cells.map((cell, i) => i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]));
  return { widths, align };
}

/** The lines of a table in Markdown, with its notes, and without its title. */
export function markdownLines({ columns, rows, notes }: Omit<Table, "title">): string[] {
  const { widths, align } = layOut({ columns, rows });
  const rule = widths.map((width, i) => i === 0 ? "-".repeat(width) : "-".repeat(width - 1) + ":");
  const body = [align(columns), rule, ...rows.map(align)].map((cells) => `| ${cells.join(" | ")} |`);
  return [...body, "", ...notes.map((note) => `- ${note}`)];
}

/** A table as text. */
export function render(table: Table, format: Format): string {
  const { title, columns, rows, notes } = table;
  if (format === "markdown") return [`**${title}**`, "", ...markdownLines(table), ""].join("\n");
  const { widths, align } = layOut(table);
  const body = [columns, widths.map((width) => "-".repeat(width)), ...rows].map((cells) => align(cells).join("  "));
  return [title, "", ...body, "", ...notes, ""].join("\n");
}

/** `9.31 ms`, `1,203 ms`: three digits that count. */
export function milliseconds(value: number): string {
  const digits = value < 10 ? 2 : value < 100 ? 1 : 0;
  return `${value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })} ms`;
}

/** `2.4x`. */
export function times(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 0)}x`;
}
