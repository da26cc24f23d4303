/**
 * Packets through lbrp's programs (BPF_PROG_TEST_RUN): what goes in, the verdict, what comes out, what is counted. The
 * cases are in cases/.
 */
import { runPacketTests } from "./support/suite.ts";
import "./cases/translate.ts";
import "./cases/pass.ts";
import "./cases/fragments.ts";
import "./cases/icmp.ts";
import "./cases/refuse.ts";
import "./cases/select.ts";
import "./cases/sessions.ts";
import "./cases/windows.ts";
import "./cases/remotes.ts";
import "./cases/affinity.ts";
import "./cases/maglev.ts";
import "./cases/assured.ts";
import "./cases/source_check.ts";
import "./cases/segment.ts";

runPacketTests("lbrp");
