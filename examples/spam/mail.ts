/**
 * A mail as words: what a reader sees of it, sender, subject and text. All other headers are left out: where and when the
 * mails of a collection arrived would give away what they are.
 *
 * @module
 */

/** A mail, or a part of one: header fields by name, in lower case, and what follows them. */
interface Part {
  readonly fields: ReadonlyMap<string, string>;
  readonly body: string;
}

function parsePart(text: string): Part {
  const [, head, body] = /^((?:.+\n)*)\n?([\s\S]*)$/.exec(text)!;
  const fields = new Map<string, string>();
  for (const [, name, value] of head.matchAll(/^([\w-]+):[ \t]*((?:.*\n)(?:[ \t].*\n)*)/gm)) {
    if (!fields.has(name.toLowerCase())) fields.set(name.toLowerCase(), value.replace(/\s+/g, " ").trim());
  }
  // a text that begins with something else than fields is all body
  return fields.size > 0 ? { fields, body } : { fields, body: text };
}

/** Most parts inside each other that are opened. */
const DEEPEST = 5;

/** The text of a part and the parts in it; pictures and programs are left out. */
function textOf({ fields, body }: Part, depth = 0): string {
  const type = fields.get("content-type")?.toLowerCase() ?? "text/plain";
  const boundary = /boundary="?([^";]+)"?/i.exec(fields.get("content-type") ?? "")?.[1];
  if (boundary !== undefined && depth < DEEPEST) {
    const parts = body.split(`--${boundary}`).slice(1);
    return parts.map((part) => textOf(parsePart(part.replace(/^\n/, "")), depth + 1)).join("\n");
  }
  if (!type.startsWith("text/")) return "";
  const decoded = decode(body, fields.get("content-transfer-encoding")?.toLowerCase());
  return type.startsWith("text/html") || /<(?:html|body|table|font)\b/i.test(decoded)
    ? `<html> ${visible(decoded)}`
    : decoded;
}

/** The bytes of a text, one a character; what is no Latin letter does not matter here. */
function decode(body: string, encoding: string | undefined): string {
  if (encoding === "quoted-printable") {
    return body.replace(/=\n/g, "").replace(/=([0-9A-F]{2})/gi, (_, code) => String.fromCharCode(parseInt(code, 16)));
  }
  if (encoding !== "base64") return body;
  try {
    return atob(body.replace(/[^A-Za-z0-9+/]/g, ""));
  } catch {
    return ""; // cut off
  }
}

/** What a browser shows of HTML. */
function visible(html: string): string {
  return html
    .replace(/<!--[\s\S]*?-->|<(style|script)\b[\s\S]*?<\/\1>/gi, " ")
    .replace(/<\/?(?:b|i|u|em|strong|font|span)\b[^>]*>/gi, "") // inside words, to hide them
    .replace(/<[a-z/!][^>]*>/gi, " ")
    .replace(/&nbsp;?/gi, " ")
    .replace(/&#(\d+);?/g, (_, code) => String.fromCharCode(Number(code) & 0xffff));
}

/**
 * The words of a mail: the sender's, `<subject>`, the subject's, `<body>`, and the text's. Digits are all 0: how many
 * there are is what counts.
 */
export function wordsOf(mail: string): string[] {
  const part = parsePart(mail.replaceAll("\r\n", "\n").replace(/^>?From .*\n/, ""));
  const [sender, subject] = ["from", "subject"].map((name) => part.fields.get(name) ?? "");
  const text = `${sender} <subject> ${subject} <body> ${textOf(part)}`;
  const words = text.toLowerCase().match(
    /<(?:subject|body|html)>|[a-z]+(?:['’][a-z]+)*|\d+(?:[.,:]\d+)*|[$£€!?%]+|[^\p{ASCII}]+/gu,
  ) ??
    [];
  return words.map((word) => word.slice(0, 20).replace(/\d/g, "0").replace(/([^\w'])\1{2,}/g, "$1$1$1"));
}
