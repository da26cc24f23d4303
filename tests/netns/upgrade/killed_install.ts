/**
 * An installation that is killed before a step, or in it, after some filters were replaced:
 * killed_install.ts BPFFS NETNS STEP [FILTERS].
 */
import "../../support/libraries.ts";
import { installDataPlane } from "../../../src/bpf/install.ts";
import { RtNetlink } from "../../../src/linux/rtnetlink.ts";

const [bpffs = "", netns = "", step = "", filters = "0"] = Deno.args;
const kill = () => Deno.kill(Deno.pid, "SIGKILL");
using nl = RtNetlink.open(netns);
const replace = nl.filterReplace.bind(nl);
let left = Infinity;
nl.filterReplace = (filter) => {
  if (left-- === 0) kill();
  replace(filter);
};
installDataPlane({
  bpffs,
  nl,
  before: (next) => {
    if (next === step) left = Number(filters);
    if (left === 0) kill();
  },
}).close();
