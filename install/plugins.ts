/** The reference CNI plugins that pcnk's conflist needs, and `loopback`, which runtimes call by themselves. */
import { REFERENCE_PLUGINS } from "../src/node/conflist.ts";

/** Names of all plugins that must be where the runtime looks for them. */
export const SHIPPED_PLUGINS = [...REFERENCE_PLUGINS, "loopback"] as const;

/** How to get them. */
export const PLUGINS_HINT =
  "install the reference CNI plugins: apt install containernetworking-plugins (Debian, Ubuntu), " +
  "dnf install containernetworking-plugins (Fedora), or the package kubernetes-cni";
