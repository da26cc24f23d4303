/** The Pods that a Service's selector matches, and similar labels when it matches none. */
import { nearest } from "../model/nearest.ts";

/** A Pod as far as selectors are concerned. */
interface LabelledPod {
  labels: Readonly<Record<string, string>>;
  ready: boolean;
}

/** The selector's result. */
export interface Selected {
  /** Pods of the namespace that were compared. */
  compared: number;
  /** There are more, which were not compared. */
  more: boolean;
  matching: number;
  /** Of those that match. */
  ready: number;
  /** When none matches: a label of the selector's keys that Pods do have, and how many have it. */
  similar?: { label: string; pods: number };
}

/** @param selector `app=web,tier=front`, as a Service's */
export function selectPods(
  selector: string,
  pods: readonly LabelledPod[],
  more: boolean,
): Selected {
  const wanted = selector.split(",").map((one) => one.split("=") as [string, string]);
  const matching = pods.filter(({ labels }) =>
    wanted.every(([key, value]) => labels[key] === value)
  );
  const similar = matching.length === 0 ? similarLabel(wanted, pods) : undefined;
  return {
    compared: pods.length,
    more,
    matching: matching.length,
    ready: matching.filter(({ ready }) => ready).length,
    similar,
  };
}

/** The label that was probably meant: of the same key with a value that is near, or of a key that is near. */
function similarLabel(
  wanted: readonly [string, string][],
  pods: readonly LabelledPod[],
): Selected["similar"] {
  const counts = new Map<string, number>();
  for (const { labels } of pods) {
    for (const [key, value] of Object.entries(labels)) {
      const label = `${key}=${value}`;
      counts.set(label, (counts.get(label) ?? 0) + 1);
    }
  }
  for (const [key, value] of wanted) {
    if (counts.has(`${key}=${value}`)) continue; // it is not this one
    const meant = nearest(`${key}=${value}`, [...counts.keys()]);
    if (meant !== undefined) return { label: meant, pods: counts.get(meant)! };
  }
  return undefined;
}

/** For a message, without a full stop. */
export function describeSelected(selector: string, namespace: string, found: Selected): string {
  const { compared, more, matching, ready, similar } = found;
  const pods = (count: number) => `${count} ${count === 1 ? "Pod" : "Pods"}`;
  if (matching > 0) {
    return `its selector ${selector} matches ${pods(matching)}, of which ${ready} ${
      ready === 1 ? "is" : "are"
    } ready`;
  }
  const among = more ? `the first ${compared} Pods` : pods(compared);
  const text = `its selector ${selector} matches none of ${among} in namespace ${namespace}`;
  return similar === undefined
    ? text
    : `${text}; ${pods(similar.pods)} there ${
      similar.pods === 1 ? "has" : "have"
    } ${similar.label}: probably a typing error`;
}
