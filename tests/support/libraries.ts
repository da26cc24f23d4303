/**
 * Opens every shared library that pcnk uses. They are opened at first use and never closed, which the test runner takes
 * for a leak of whichever test comes first. Importing this file is enough.
 */
import { libbpf } from "../../src/bpf/libbpf.ts";
import { lastErrno } from "../../src/linux/libc.ts";
import { pageSize } from "../../src/linux/mmap.ts";
import { loadPpoll } from "../../src/linux/poll.ts";

lastErrno();
pageSize();
loadPpoll();
try {
  libbpf();
} catch (error) {
  // Not built: tests that need it say so.
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
