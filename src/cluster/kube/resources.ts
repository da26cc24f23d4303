/** The kinds of objects that are followed: where the API has them, and how one of them is read. */
import type { ClusterObject } from "../../model/objects.ts";
import { decodeNode } from "../decode_node.ts";
import { decodePod } from "../decode_pod.ts";
import { decodeService } from "../decode_service.ts";
import { decodeEndpoints, decodeSlice } from "../decode_slice.ts";
import { othersLabels } from "../metadata.ts";
import type { Fields, Path } from "../reader.ts";

export interface Resource {
  /** Path of the list, without a query. */
  path: string;
  /** Plural name, for messages. */
  name: string;
  kind: ClusterObject["kind"];
  /** Only objects that match. */
  labelSelector?: string;
  /** Objects in a page of the list: so many that a page stays within a few megabytes. */
  pageSize: number;
  decode(fields: Fields, path: Path): ClusterObject;
}

/** As kube-proxy: none of these labels. */
const ours = othersLabels.map((label) => `!${label}`).join(",");

export const services: Resource = {
  path: "/api/v1/services",
  name: "services",
  kind: "Service",
  labelSelector: ours,
  pageSize: 500,
  decode: decodeService,
};

/** Nodes are large: the kubelet lists the images it holds. */
export const nodes: Resource = {
  path: "/api/v1/nodes",
  name: "nodes",
  kind: "Node",
  pageSize: 250,
  decode: decodeNode,
};

/** The group and version that must be served for `endpointSlices`. */
export const sliceGroup = "/apis/discovery.k8s.io/v1";

export const endpointSlices: Resource = {
  path: `${sliceGroup}/endpointslices`,
  name: "endpointslices",
  kind: "EndpointSlice",
  labelSelector: ours,
  pageSize: 500,
  decode: decodeSlice,
};

/** Where slices are not served (before Kubernetes 1.21). */
export const endpoints: Resource = {
  path: "/api/v1/endpoints",
  name: "endpoints",
  kind: "Endpoints",
  labelSelector: ours,
  pageSize: 250,
  decode: decodeEndpoints,
};

/** Only pods that say by a label that they have a weight: a cluster has too many for every node to follow them all. */
export const pods: Resource = {
  path: "/api/v1/pods",
  name: "pods",
  kind: "Pod",
  labelSelector: "pcnk.io/weight",
  pageSize: 250,
  decode: decodePod,
};
