/**
 * Progress on standard error: on a terminal a line that moves while a step is at work, elsewhere a plain line for each step
 * that has ended.
 */
import { type Paint, streamLook } from "../view/terminal.ts";

/** Something that takes a while. */
interface Step {
  /** Shows how far it is, e.g. `3/4`. */
  update(detail: string): void;
}

/** Tells the user what is going on. */
export interface Progress {
  /** Runs `work` as a step; its end is shown with what it returns as detail, and its failure as such. */
  step<T>(
    title: string,
    work: (step: Step) => Promise<T>,
    detail?: (value: T) => string,
  ): Promise<T>;
  /** A line that is neither a step's beginning nor its end. */
  note(text: string): void;
}

/** Says nothing; for programs that use a lab. */
export const silent: Progress = {
  step: (_title, work) => work({ update() {} }),
  note() {},
};

/** What progress is written to. */
interface Output {
  write(text: string): void;
  terminal: boolean;
  paint: Paint;
  now(): number;
}

/** Progress on the real standard error. */
export function stderrProgress(): Progress {
  const encoder = new TextEncoder();
  const write = (text: string) => {
    try {
      Deno.stderr.writeSync(encoder.encode(text));
    } catch {
      // The reader is gone; the work goes on.
    }
  };
  return textProgress({ write, ...streamLook(Deno.stderr), now: () => performance.now() });
}

const FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";
const FRAME_MS = 80;
const TITLE_WIDTH = 10;

/** Progress as text on any output. */
export function textProgress(output: Output): Progress {
  const { write, terminal, paint } = output;
  const clear = terminal ? "\r\x1b[K" : "";
  const end = (mark: string, title: string, detail: string, since: number) => {
    const time = paint("dim", `${((output.now() - since) / 1000).toFixed(1)} s`);
    write(`${clear}${mark} ${title.padEnd(TITLE_WIDTH)} ${time}  ${detail}\n`);
  };
  return {
    async step(title, work, detail) {
      const since = output.now();
      let shown = "";
      let frame = 0;
      const draw = () => {
        const spin = paint("yellow", FRAMES[frame++ % FRAMES.length]!);
        write(`${clear}${spin} ${title.padEnd(TITLE_WIDTH)} ${shown}`);
      };
      if (terminal) draw();
      const timer = terminal ? setInterval(draw, FRAME_MS) : undefined;
      try {
        const value = await work({ update: (text) => void (shown = text) });
        end(paint("green", "✓"), title, detail?.(value) ?? shown, since);
        return value;
      } catch (error) {
        end(paint("red", "✗"), title, shown, since);
        throw error;
      } finally {
        clearInterval(timer);
      }
    },
    note: (text) => write(`${clear}${text}\n`),
  };
}
