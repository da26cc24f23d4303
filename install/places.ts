/** What the manifest and the agent in its pods have to agree on. */

/** The environment variable that names the DaemonSet: `namespace/name`. Unset: it is no DaemonSet's agent. */
export const DAEMONSET_VARIABLE = "PCNK_DAEMONSET";

/** The environment variable that has HOST_PREFIX in a pod that cleans a node up. */
export const HOST_PREFIX_VARIABLE = "PCNK_HOST_PREFIX";

/** Where the manifest mounts directories of the node once more, so that they can be removed. */
export const HOST_PREFIX = "/host";
