import { deepEqual, match } from "node:assert/strict";
import { judgeSilence, parseSockets } from "./silent_agent.ts";

const line = (local: string, remote: string, state: string, waiting = "0") =>
  `   0: 0100007F:${local} 0100007F:${remote} ${state} 00000000:0000000${waiting} 00:00000000 00000000     0 0 535 1\n`;
const HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n";
const LISTENS = line("2697", "0000", "0A");
const ASKED = line("B000", "2697", "02");

const told = (text: string, refused: boolean) =>
  judgeSilence("127.0.0.1:9879", parseSockets(HEAD + text), refused, ["ip filter INPUT"]).text;

Deno.test("judgeSilence() tells an agent that hangs from one that a firewall hides", () => {
  deepEqual(parseSockets(HEAD + LISTENS), [
    { localPort: 9879, remotePort: 0, state: 10, waiting: 0 },
  ]);
  match(told(LISTENS + ASKED, false), /firewall rule of this node drops .* \(ip filter INPUT\)/);
  match(told(LISTENS, true), /firewall rule of this node rejects/);
  match(told(LISTENS, false), /does not respond/);
  match(told(line("2697", "0000", "0A", "8") + ASKED, false), /does not respond/);
  match(told("", true), /does not listen/);
});
