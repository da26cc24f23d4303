/** The page at the health server (setting `ui`): made by whoever starts the agent, and only when somebody first asks for it. */
import type { AgentConfig } from "../../config/schema.ts";

/** Answers a request below /ui/ of a client with this address. */
export type Page = (request: Request, from: string) => Promise<Response>;

/** `token` is what opens the page. The signal ends what it has going. */
export type PageMaker = (config: AgentConfig, token: string, signal: AbortSignal) => Promise<Page>;

export class PagePart {
  readonly #end = new AbortController();
  #page: Promise<Page> | undefined;
  readonly #make: PageMaker;
  readonly #config: AgentConfig;
  readonly #token: string;

  constructor(
    make: PageMaker,
    config: AgentConfig,
    token: string,
  ) {
    this.#make = make;
    this.#config = config;
    this.#token = token;
  }

  /** The answer; undefined: it is something else, or no page is wanted. */
  async answer(request: Request, from: string): Promise<Response | undefined> {
    if (!this.#config.ui || !/^\/ui(\/|$)/.test(new URL(request.url).pathname)) return undefined;
    this.#page ??= this.#make(this.#config, this.#token, this.#end.signal);
    return await (await this.#page)(request, from);
  }

  stop() {
    this.#end.abort();
  }
}
