/**
 * A network that reads mails: its step of training, its judgement, and what in a mail moved it.
 *
 * @module
 */
import * as tn from "../../mod.ts";
import * as lstm from "../../models/lstm.ts";
import { batches, type Dataset, type Vocabulary } from "../../train/data.ts";
import type { Mail } from "./corpus.ts";

/** What stands for all words that the vocabulary lacks. */
export const UNKNOWN = "<unknown>";

/** Mails as arrays: `tokens` `[N, T]`, the end of each padded, `lengths` `[N]`, `targets` `[N]`. */
export function encodeMails(mails: readonly Mail[], words: Vocabulary, length: number): Dataset {
  const tokens = new Int32Array(mails.length * length);
  mails.forEach((mail, i) => tokens.set(words.encode(mail.words).subarray(0, length), i * length));
  return {
    tokens: { data: tokens, shape: [mails.length, length] },
    lengths: { data: Int32Array.from(mails, ({ words }) => Math.min(length, words.length)), shape: [mails.length] },
    targets: { data: Int32Array.from(mails, ({ label }) => label), shape: [mails.length] },
  };
}

/** A batch of mails. */
export type MailBatch = Pick<lstm.TokenBatch, "tokens" | "targets" | "lengths">;

/** Everything that a training step replaces. */
export interface Training {
  readonly params: lstm.TokenParams;
  readonly state: tn.OptimizerState;
  /** For dropout. */
  readonly key: tn.Key;
}

/** One step of training, compiled. */
export function makeStep(config: lstm.TokenConfig, optimizer: tn.Optimizer) {
  return tn.compile(({ params, state, key }: Training, batch: MailBatch) => {
    const [nextKey, stepKey] = tn.split(key);
    const [loss, grads] = tn.valueAndGrad(lstm.loss)(params, { ...batch, key: stepKey }, config);
    const [nextParams, nextState] = optimizer.update(grads, state, params);
    return [loss, { params: nextParams, state: nextState, key: nextKey } as Training] as const;
  }, { donate: [0] });
}

/** How much more each mail looks like spam than not: log-odds, `[N]`. */
const margin = tn.compile((params: lstm.TokenParams, { tokens, lengths }: MailBatch, config: lstm.TokenConfig) => {
  const [logits] = lstm.applyTokens(params, tokens, config, { lengths }); // [B, 2]
  const [wanted, spam] = tn.split(logits, 2, { axis: 1 });
  return tn.squeeze(tn.sub(spam, wanted), 1);
});

/** The log-odds of being spam, for each mail. */
export async function judge(params: lstm.TokenParams, mails: Dataset, config: lstm.TokenConfig): Promise<number[]> {
  const judged: number[] = [];
  for await (using batch of batches(mails, { size: 64 })) {
    const { tokens, lengths, targets } = batch;
    using odds = margin(params, { tokens, lengths, targets }, config);
    judged.push(...await odds.data());
  }
  return judged;
}

/** A word, and by how much the log-odds of being spam fall when it is unknown everywhere in the mail. */
export interface Weight {
  readonly word: string;
  readonly weight: number;
}

/** What each word of a mail contributes, the largest effects first: the mail is judged again without it. */
export async function weigh(
  params: lstm.TokenParams,
  mail: Mail,
  config: lstm.TokenConfig,
  words: Vocabulary,
): Promise<Weight[]> {
  const known = [...new Set(mail.words)].filter((word) => !word.startsWith("<") && words.has(word));
  const without = (gone?: string): Mail => ({
    ...mail,
    words: mail.words.map((word) => word === gone ? UNKNOWN : word),
  });
  const versions = encodeMails([without(), ...known.map(without)], words, Math.max(1, mail.words.length));
  const [whole, ...parts] = await judge(params, versions, config);
  const weights = known.map((word, i) => ({ word, weight: whole - parts[i] }));
  return weights.sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
}
