/** A temporary folder; `using` removes it and what is in it. */
export class TempFolder implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "pcnk-t-" });

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}
