/** What the manifest and the agent in its pods have to agree on. */

/** The environment variable that names the DaemonSet: `namespace/name`. Unset: it is no DaemonSet's agent. */
export const DAEMONSET_VARIABLE = "PCNK_DAEMONSET";

/** Where the manifest mounts directories of the node once more, so that they can be removed. */
export const HOST_PREFIX = "/host";
