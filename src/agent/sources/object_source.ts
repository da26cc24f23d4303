/** The source of cluster objects: the Kubernetes API or manifests. */
import { type Access, AccessError } from "../../cluster/kube/access.ts";
import { inCluster, loadKubeconfig } from "../../cluster/kube/kubeconfig.ts";
import { KubeSource } from "../../cluster/kube/source.ts";
import { formatProblem, ManifestSource } from "../../cluster/manifests.ts";
import type { Source, SourceListener } from "../../cluster/source.ts";
import type { AgentConfig } from "../../config/schema.ts";
import type { Change } from "../../model/state.ts";
import type { Log } from "../log.ts";

/** Where to read objects from, checked without a request. */
export type SourceChoice = { manifests: string } | { access: Access; podWeights: boolean };

/**
 * Manifests where a directory of them is given; else the API server of the kubeconfig; else, in a pod, that of its own
 * cluster.
 * @throws Error with a message for the user
 */
export function chooseSource(config: AgentConfig): SourceChoice {
  const { manifests, kubeconfig } = config;
  const podWeights = config.podWeights === "labelled";
  if (manifests !== undefined) {
    if (kubeconfig !== undefined) throw new Error("give either --manifests or --kubeconfig");
    checkManifests(manifests);
    return { manifests };
  }
  if (kubeconfig !== undefined) return { access: loadKubeconfig(kubeconfig), podWeights };
  try {
    return { access: inCluster(), podWeights };
  } catch (error) {
    if (!(error instanceof AccessError)) throw error;
    throw new Error(
      "there is nowhere to read cluster objects from; give --kubeconfig FILE or --manifests DIR",
    );
  }
}

/** @param changes called with objects that came, changed or went, never with none; and whether others follow at once */
export function openSource(
  choice: SourceChoice,
  changes: (changes: readonly Change[], more?: boolean) => void,
  log: Log,
): Source {
  const listener: SourceListener = {
    changes,
    problem: ({ reason, ...where }) =>
      log.warn({ event: "SourceProblem", ...where }, formatProblem({ reason, ...where })),
    recovered: (file) => log.info({ event: "SourceRecovered", file }, `${file}: in order again`),
    ignored: (file, type) => log.debug({ file, type }, "object ignored"),
  };
  if ("manifests" in choice) return new ManifestSource(choice.manifests, listener);
  const { server, from } = choice.access;
  log.info({ server, credentials: from }, "following the Kubernetes API");
  return new KubeSource(choice.access, listener, { podWeights: choice.podWeights });
}

function checkManifests(manifests: string) {
  try {
    Deno.readDirSync(manifests);
  } catch (error) {
    const reason = error instanceof Deno.errors.NotFound
      ? "there is no such directory"
      : (error as Error).message;
    throw new Error(`manifests ${manifests}: ${reason}`);
  }
}
