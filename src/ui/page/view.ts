/// <reference lib="dom" />
/** What every view has in common. */

/** A view of the page. It is made when the user turns to it, and dropped when the user leaves it. */
export interface View {
  /** Reads and draws again; called at once and then every two seconds. @throws {AskError} */
  refresh(signal: AbortSignal): Promise<void>;
  /** Where typing goes after `/`. */
  filter?: HTMLInputElement;
  /** `n` and `p`. */
  turn?(pages: 1 | -1): void;
  /** Ends what goes on. */
  leave?(): void;
}

/** What a view can do to the page. */
export interface Place {
  root: HTMLElement;
  /** Reads again now, as after a click. */
  again(): void;
  /** Turns to `services/default/web`, and the like. */
  go(path: string): void;
}

/** Makes a view of what follows its name in the address: `default/web`. */
export type MakeView = (place: Place, path: string) => View;
