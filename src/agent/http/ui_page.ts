/** The page below /ui/ (setting `ui`), loaded at the first request. */

/** Replies to a request below /ui/ of a client with this address. */
export type Page = (request: Request, from: string) => Promise<Response>;

export class UiPage {
  readonly #load: (signal: AbortSignal) => Promise<Page>;
  readonly #ending = new AbortController();
  #page: Promise<Page> | undefined;

  /** @param load its signal ends the page's streams */
  constructor(load: (signal: AbortSignal) => Promise<Page>) {
    this.#load = load;
  }

  /** Undefined: the request is for another path. */
  async reply(request: Request, from: string): Promise<Response | undefined> {
    if (!/^\/ui(\/|$)/.test(new URL(request.url).pathname)) return undefined;
    this.#page ??= this.#load(this.#ending.signal);
    return await (await this.#page)(request, from);
  }

  stop() {
    this.#ending.abort();
  }
}
