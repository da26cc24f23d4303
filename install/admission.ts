/**
 * What RBAC cannot say: each agent writes about its own node only. ValidatingAdmissionPolicies, which the API server
 * evaluates itself (KEP-3488, in v1 since Kubernetes 1.30). Pure.
 *
 * A token that the kubelet gets for a Pod has the name of the Pod's Node (KEP-4193, since 1.30); so has one that is bound to
 * a Node. A token without it is refused: it could be used anywhere.
 *
 * CEL by the standard definition, without optional types; has() before each field that the API may leave out. dyn() keeps the
 * server's check of types from warning of fields that are read by name.
 */
import { type KubeObject, object } from "./kube_object.ts";
import { NAME } from "./pods.ts";

const GROUP = "admissionregistration.k8s.io/v1";

/** The first Kubernetes 1.x that has all that the policies need, without a feature gate. */
export const ADMISSION_SINCE = 30;

interface Policy {
  name: string;
  /** Of core/v1. */
  resource: string;
  operations: string[];
  variables: Expression[];
  /** Each must be true. */
  validations: { expression: string; message: string }[];
}

interface Expression {
  name: string;
  expression: string;
}

const NODE_NAME = "authentication.kubernetes.io/node-name";

/** The Node that the token is for. */
const node: Expression = {
  name: "node",
  expression: `has(request.userInfo.extra) && '${NODE_NAME}' in request.userInfo.extra ` +
    `&& size(request.userInfo.extra['${NODE_NAME}']) == 1 ` +
    `? request.userInfo.extra['${NODE_NAME}'][0] : ''`,
};

const bound = {
  expression: "variables.node != ''",
  message: "pcnk's agent needs a token that is bound to a Pod or to a Node",
};

/** Whether a key of two maps is the same, or in neither. */
const same = (one: string, other: string, key: string) =>
  `(${key} in ${one}) == (${key} in ${other}) && ` +
  `(!(${key} in ${one}) || ${one}[${key}] == ${other}[${key}])`;

const otherConditions = (of: string) =>
  `has(${of}.status) && has(${of}.status.conditions) ` +
  `? ${of}.status.conditions.filter(c, c.type != 'NetworkUnavailable') : []`;

const policies: readonly Policy[] = [
  {
    name: `${NAME}-node-status`,
    resource: "nodes/status",
    // A patch is an update to admission.
    operations: ["UPDATE"],
    variables: [
      node,
      { name: "status", expression: "has(object.status) ? dyn(object.status) : dyn({})" },
      { name: "oldStatus", expression: "has(oldObject.status) ? dyn(oldObject.status) : dyn({})" },
      { name: "conditions", expression: otherConditions("object") },
      { name: "oldConditions", expression: otherConditions("oldObject") },
    ],
    validations: [
      bound,
      {
        expression: "object.metadata.name == variables.node",
        message: "pcnk's agent may write the status of its own Node only",
      },
      {
        // By this way labels and annotations could be changed, too.
        expression: "['labels', 'annotations', 'finalizers', 'ownerReferences'].all(k, " +
          `${same("dyn(object.metadata)", "dyn(oldObject.metadata)", "k")})`,
        message: "pcnk's agent may not change a Node's metadata",
      },
      {
        expression: "variables.conditions == variables.oldConditions",
        message: "pcnk's agent may set the condition NetworkUnavailable, and no other",
      },
      {
        expression: [
          ["status", "oldStatus"],
          ["oldStatus", "status"],
        ].map(([one, other]) =>
          `variables.${one}.all(k, k == 'conditions' || ` +
          `k in variables.${other} && variables.${one}[k] == variables.${other}[k])`
        ).join(" && "),
        message: "pcnk's agent may change the conditions in a Node's status, and nothing else",
      },
    ],
  },
  {
    name: `${NAME}-events`,
    resource: "events",
    operations: ["CREATE", "UPDATE"],
    variables: [node],
    validations: [
      bound,
      {
        expression: aboutOwnNode("object"),
        message: "pcnk's agent may write Events about its own Node only",
      },
      {
        expression: `request.operation != 'UPDATE' || ${aboutOwnNode("oldObject")}`,
        message: "pcnk's agent may change its own Events only",
      },
    ],
  },
];

function aboutOwnNode(of: string): string {
  return `has(${of}.involvedObject.kind) && ${of}.involvedObject.kind == 'Node' ` +
    `&& has(${of}.involvedObject.name) && ${of}.involvedObject.name == variables.node ` +
    `&& has(${of}.reportingComponent) && ${of}.reportingComponent == '${NAME}'`;
}

/** The policies and their bindings. @param namespace of the agents' ServiceAccount */
export function admission(namespace: string): KubeObject[] {
  const user = `system:serviceaccount:${namespace}:${NAME}`;
  const cluster = (kind: string, name: string, spec: Record<string, unknown>) =>
    object(GROUP, kind, undefined, { spec }, name);
  return policies.flatMap(({ name, resource, operations, variables, validations }) => [
    cluster("ValidatingAdmissionPolicy", name, {
      failurePolicy: "Fail",
      matchConstraints: {
        resourceRules: [
          { apiGroups: [""], apiVersions: ["v1"], operations, resources: [resource] },
        ],
      },
      matchConditions: [
        { name: "agent", expression: `request.userInfo.username == '${user}'` },
      ],
      variables,
      validations: validations.map((one) => ({ ...one, reason: "Forbidden" })),
    }),
    cluster("ValidatingAdmissionPolicyBinding", name, {
      policyName: name,
      validationActions: ["Deny"],
    }),
  ]);
}
