/** An installation that is killed before a step: killed_install.ts BPFFS NETNS STEP. */
import "../../support/libraries.ts";
import { installDataPlane } from "../../../src/bpf/install.ts";
import { RtNetlink } from "../../../src/linux/rtnetlink.ts";

const [bpffs = "", netns = "", step = ""] = Deno.args;
using nl = RtNetlink.open(netns);
installDataPlane({
  bpffs,
  nl,
  before: (next) => {
    if (next === step) Deno.kill(Deno.pid, "SIGKILL");
  },
}).close();
