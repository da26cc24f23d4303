/** What the manifest and the agent in its pods agree on. */

/** The environment variable with the DaemonSet's `namespace/name`. Unset: no DaemonSet runs the agent. */
export const DAEMONSET_VARIABLE = "PCNK_DAEMONSET";

/** Where the manifest mounts directories of the node that cannot be at their own path in a container. */
export const HOST_PREFIX = "/host";
