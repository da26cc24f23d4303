/** The cases of lbrp_test.ts on the transitional programs, where the table of release 0.1.0 is the truth. */
import { loadConverting } from "./support/converting.ts";
import { runPacketTests } from "./support/suite.ts";
import "./cases/translate.ts";
import "./cases/pass.ts";
import "./cases/fragments.ts";
import "./cases/icmp.ts";
import "./cases/refuse.ts";
import "./cases/select.ts";
import "./cases/sessions.ts";
import "./cases/remotes.ts";
import "./cases/affinity.ts";
import "./cases/maglev.ts";

runPacketTests("lbrp, transitional", undefined, loadConverting());
