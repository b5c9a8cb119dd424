/**
 * A training that may be stopped after any step and taken up again: it ends as if it had never been stopped.
 *
 * ```text
 *  openCourse ──> walk: step, step, step, look, save; step, step, step, look, save; ...; the course at its end
 *      ↑                             └── Ctrl-C: save, look
 *      └─────── --resume ───────────── checkpoint.safetensors
 * ```
 *
 * @module
 */
import { type Tensor, tree } from "../../mod.ts";
import { loadCheckpoint, saveCheckpoint } from "../../train/checkpoint.ts";
import type { Position } from "../../train/data.ts";
import { duration } from "../../train/progress.ts";
import { checkpointPath } from "./record.ts";
import { breathe, type ExampleFlags, type Run } from "./run.ts";

/** A training and where it stands. */
export interface Course<T, H> {
  /** Parameters, states of optimizers, keys: a tree of tensors. */
  training: T;
  /** What there is to tell at the end, such as losses: data that grows in place and that JSON can hold. */
  readonly history: H;
  position: Position;
  /** How long it has taken. */
  seconds: number;
  /** Who keeps it, if anyone. */
  readonly keeper?: Keeper;
}

/** Keeps a course in a file. */
interface Keeper {
  readonly path: string;
  /** Says how to go on from there. */
  readonly sayHow: () => void;
}

/** A course at its beginning, which nobody keeps. */
export function newCourse<T, H>(training: T, history: H): Course<T, H> {
  return { training, history, position: { epoch: 0, step: 0 }, seconds: 0 };
}

/** Which course of a run it is, and how it begins. */
export interface CourseOptions<T, H> {
  /** Where results go. */
  readonly folder: string;
  /** Its name, if the run has several. */
  readonly part?: string;
  /** Its tensors belong to the course. */
  readonly training: T;
  /** A history in which nothing has happened. */
  readonly history: H;
}

/** What a checkpoint holds. */
interface Saved<T> {
  readonly training: T;
  readonly position: Position;
  readonly seconds: number;
  /** In JSON. */
  readonly history: string;
}

function toSaved<T, H>({ training, position, seconds, history }: Course<T, H>): Saved<T> {
  return { training, position, seconds, history: JSON.stringify(history) };
}

/**
 * The course of a run that saves itself: at its beginning, or where the run that is resumed was stopped. Throws an `Error`
 * that says what is wrong with the checkpoint.
 */
export async function openCourse<T, H>(
  { flags, screen, record }: Pick<Run<ExampleFlags>, "flags" | "screen" | "record">,
  { folder, part, training, history }: CourseOptions<T, H>,
): Promise<Course<T, H>> {
  const path = checkpointPath(folder, part), fresh = newCourse(training, history);
  const keeper = { path, sayHow: () => screen.fact("go on", `${record.program} --resume ${folder}`) };
  if (flags.resume === undefined) return { ...fresh, keeper };
  if (!(await exists(path))) {
    screen.fact("resumed", `${part ?? folder}, from its beginning: nothing had been saved`);
    return { ...fresh, keeper };
  }
  const saved = await loadCheckpoint<Saved<T>>(path, { like: toSaved(fresh) });
  for (const tensor of tree.leaves(training) as Tensor[]) tensor.dispose();
  screen.fact("resumed", `${part ?? folder}, after ${duration(saved.seconds)}`);
  const numbers = (_: string, value: unknown) => value === null ? NaN : value; // which JSON lacks
  return { ...saved, history: JSON.parse(saved.history, numbers), keeper };
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/** How a course is walked. */
export interface WalkOptions<T, B extends Disposable> {
  readonly epochs: number;
  /** The rest of an epoch from this position on. */
  readonly batches: (at: Position) => AsyncIterable<B>;
  /** Takes the step at a position: returns what replaces the training, which it may use up. */
  readonly step: (training: T, batch: B, at: Position) => Promise<T>;
  /** Called after each epoch, and wherever the walk ends. */
  readonly look?: (training: T) => Promise<void>;
  /** The walk ends after the step in which it is aborted. */
  readonly interrupt?: AbortSignal;
}

/** Walks a course from where it stands to its end, and saves it after each epoch and when it is interrupted. */
export async function walk<T, H, B extends Disposable>(
  course: Course<T, H>,
  { epochs, batches, step, look, interrupt }: WalkOptions<T, B>,
): Promise<Course<T, H>> {
  const before = course.seconds, begin = performance.now();
  const save = async () => {
    course.seconds = before + (performance.now() - begin) / 1000;
    if (course.keeper) await saveCheckpoint(course.keeper.path, toSaved(course));
  };
  while (course.position.epoch < epochs && !interrupt?.aborted) {
    const { epoch } = course.position;
    for await (using batch of batches(course.position)) {
      course.training = await step(course.training, batch, course.position);
      course.position = { epoch, step: course.position.step + 1 };
      await breathe();
      if (interrupt?.aborted) break;
    }
    const stopped = interrupt?.aborted;
    if (stopped) await save(); // before the look, which a course that is never interrupted does not take here
    await look?.(course.training);
    if (stopped) break;
    course.position = { epoch: epoch + 1, step: 0 };
    await save();
  }
  if (interrupt?.aborted) course.keeper?.sayHow();
  return course;
}
