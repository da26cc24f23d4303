import assert from "node:assert/strict";
import { parseAllDocuments } from "yaml";
import { parseConfig } from "../src/config/load.ts";
import type { KubeObject } from "./kube_object.ts";
import { kubernetesMinor, manifest, manifestKeys, renderManifest } from "./manifest.ts";
import { readSetOptions } from "./set_options.ts";

// deno-lint-ignore no-explicit-any -- objects of Kubernetes are looked into at many depths
type Any = any;

function objects(...set: string[]): KubeObject[] {
  return manifest(readSetOptions(set, manifestKeys), "1.2.3");
}

function find(all: KubeObject[], kind: string): Any {
  const found = all.filter((one) => one.kind === kind);
  assert.equal(found.length, 1, kind);
  return found[0];
}

Deno.test("renderManifest() is YAML that reads back as the same objects", () => {
  const all = objects("namespace=net", "routing=direct");
  const text = renderManifest(all, "1.2.3");
  const read = parseAllDocuments(text);
  assert.deepEqual(read.map((one) => one.toJS()), JSON.parse(JSON.stringify(all)));
  assert.doesNotMatch(text, /[&*]a\d/); // no anchors: some tools do not read them
});

Deno.test("manifest() has what a DaemonSet of a network provider needs, and no more kinds", () => {
  const all = objects();
  const kinds = [
    ...["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
    ...["Role", "RoleBinding", "ConfigMap", "DaemonSet"],
  ];
  assert.deepEqual(all.map((one) => one.kind), kinds);
  const { spec } = find(all, "DaemonSet").spec.template;
  assert.equal(spec.hostNetwork, true);
  assert.deepEqual(spec.tolerations, [{ operator: "Exists" }]);
  assert.equal(spec.priorityClassName, "system-node-critical");
  assert.equal(spec.containers[0].image, "localhost/pcnk:1.2.3");
  const names = new Set(spec.volumes.map((one: Any) => one.name));
  for (const container of [...spec.initContainers, ...spec.containers]) {
    for (const { name } of container.volumeMounts) assert.ok(names.has(name), name);
  }
});

Deno.test("manifest() has admission policies for clusters that have them, marked as access", () => {
  const kinds = (kubernetes?: number) =>
    manifest(readSetOptions([], manifestKeys), "1.2.3", kubernetes)
      .filter(({ apiVersion }) => apiVersion.startsWith("admissionregistration"))
      .map(({ kind, metadata }) => [kind, (metadata as Any).labels["pcnk.io/part"]]);
  assert.deepEqual([kinds(), kinds(29)], [[], []]);
  const pair = [
    ["ValidatingAdmissionPolicy", "access"],
    ["ValidatingAdmissionPolicyBinding", "access"],
  ];
  assert.deepEqual(kinds(30), [...pair, ...pair]);
  for (const [text, minor] of [["1.20", 20], ["v1.33.4-gke.1", 33], ["1.30", 30]] as const) {
    assert.equal(kubernetesMinor(text), minor);
  }
  for (const bad of ["", "1", "1.19", "2.0", "1.x", "30", "1.3a", "latest"]) {
    assert.throws(() => kubernetesMinor(bad), /1\.20 or later/, bad);
  }
});

Deno.test("manifest() has rights to Pods only where a setting makes use of them", () => {
  const verbs = (...set: string[]) =>
    find(objects(...set), "ClusterRole").rules
      .filter(({ resources }: Any) => resources.includes("pods"))
      .map(({ resources, verbs }: Any) => [...resources, ...verbs].join(" "));
  assert.deepEqual(verbs(), ["pods list watch"]);
  assert.deepEqual(verbs("sourceCheck=annotated"), ["pods list watch get"]);
  assert.deepEqual(verbs("podWeights=off", "sourceCheck=annotated"), ["pods get"]);
  assert.deepEqual(verbs("podWeights=off"), []);
});

Deno.test("manifest() gives a token to the agent alone, which ends within the hour", () => {
  const all = objects();
  assert.equal(find(all, "ServiceAccount").automountServiceAccountToken, false);
  const { spec } = find(all, "DaemonSet").spec.template;
  assert.equal(spec.automountServiceAccountToken, false);
  const { projected } = spec.volumes.find(({ name }: Any) => name === "token");
  assert.deepEqual(projected, {
    defaultMode: 256,
    sources: [
      { serviceAccountToken: { path: "token", expirationSeconds: 3600 } },
      { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
    ],
  });
  const withToken = [...spec.initContainers, ...spec.containers].filter(({ volumeMounts }) =>
    volumeMounts.some(({ name }: Any) => name === "token")
  );
  assert.deepEqual(withToken.map(({ name }: Any) => name), ["agent"]);
});

Deno.test("manifest() limits the agent's memory to what no healthy agent needs, with the maps that it is to make", () => {
  const limit = (...set: string[]) => {
    const { resources } = find(objects(...set), "DaemonSet").spec.template.spec.containers[0];
    assert.equal(resources.limits.cpu, undefined);
    const [, mebibytes] = /^(\d+)Mi$/.exec(resources.limits.memory)!;
    return Number(mebibytes);
  };
  assert.ok(limit() >= 2048 + 256 && limit() <= 3072, `${limit()}`);
  // Two tables of sessions, twice while they are converted, more than 100 bytes an entry.
  const more = limit("mapSizes.sessions=4194304") - limit("mapSizes.sessions=262144");
  assert.ok(more * 2 ** 20 > (4194304 - 262144) * 4 * 100, `${more}`);
  // The agent's own memory, too.
  assert.ok(limit("mapSizes.backends=4194304") - limit() > (4194304 - 524288) / 512);
});

Deno.test("manifest() takes an image by tag and by digest, and no other form", () => {
  const digest = `sha256:${"0123456789abcdef".repeat(4)}`;
  const names = [
    ...["pcnk", "pcnk:1", "registry.example:5000/net/pcnk", "registry.example/pcnk:0.1.0-rc.1"],
    ...[`registry.example/pcnk@${digest}`, `localhost/pcnk:0.1.0@${digest}`],
  ];
  for (const image of names) {
    const { spec } = find(objects(`image=${image}`), "DaemonSet").spec.template;
    for (const one of [...spec.initContainers, ...spec.containers]) assert.equal(one.image, image);
  }
  const bad = [
    ...["", "a b", "Registry/x", "a@b", "a@sha256:12", `a@${digest}0`, `a@${digest.toUpperCase()}`],
    ...["a:", "a/", "/a", "a//b", "a:x y", "a\nb", `${digest}@a`, "a@md5:0123456789abcdef"],
  ];
  for (const image of bad) assert.throws(() => objects(`image=${image}`), /by digest/, image);
});

Deno.test("manifest() refuses settings that name files which its pods do not have", () => {
  for (const key of ["etcd.ca", "etcd.cert", "etcd.key", "etcd.passwordFile", "kubeconfig"]) {
    assert.throws(() => objects(`${key}=/etc/ssl/a.pem`), new RegExp(key.replace(".", "\\.")));
  }
});

Deno.test("manifest() has a namespace of its own made, and lets privileged pods in there", () => {
  const all = objects("namespace=net");
  const labels = find(all, "Namespace").metadata.labels;
  assert.equal(labels["pod-security.kubernetes.io/enforce"], "privileged");
  for (const kind of ["ServiceAccount", "ConfigMap", "DaemonSet"]) {
    assert.equal(find(all, kind).metadata.namespace, "net", kind);
  }
  assert.equal(find(all, "ClusterRoleBinding").subjects[0].namespace, "net");
});

Deno.test("manifest() writes settings into a file that the agent reads", () => {
  const all = objects("overlay.port=8472", "nonMasqueradeCIDRs=10.0.0.0/8", "snatPorts=2000-3000");
  const values = parseConfig(find(all, "ConfigMap").data["config.yaml"], "config.yaml");
  assert.deepEqual([...values], [
    ["overlay.port", 8472],
    ["nonMasqueradeCIDRs", ["10.0.0.0/8"]],
    ["snatPorts", { first: 2000, last: 3000 }],
  ]);
  assert.deepEqual([...parseConfig(find(objects(), "ConfigMap").data["config.yaml"], "x")], []);
});

Deno.test("manifest() mounts what settings name, and starts agents anew when settings change", () => {
  const [a, b] = [objects(), objects("cgroup=/sys/fs/cgroup/unified", "stateDir=/var/run/pcnk2")]
    .map((all) => find(all, "DaemonSet").spec.template);
  const paths = b.spec.volumes.map((one: Any) => one.hostPath?.path);
  assert.ok(paths.includes("/sys/fs/cgroup/unified") && paths.includes("/var/run/pcnk2"));
  const hash = (template: Any) => template.metadata.annotations["pcnk.io/config-hash"];
  assert.notEqual(hash(a), hash(b));
  assert.equal(hash(a), hash(find(objects(), "DaemonSet").spec.template));
});

Deno.test("manifest() shows agents the pods' network namespaces only where they look into them", () => {
  const netns = (...set: string[]) => {
    const { spec } = find(objects(...set), "DaemonSet").spec.template;
    const named = (all: Any[]) => all.filter(({ name }) => name === "netns");
    return [named(spec.volumes), named(spec.containers[0].volumeMounts)];
  };
  assert.deepEqual(netns(), [[], []]);
  assert.deepEqual(netns("socketLB=host"), [[], []]);
  assert.deepEqual(netns("socketLB=all"), [
    [{ name: "netns", hostPath: { path: "/run/netns", type: "DirectoryOrCreate" } }],
    [{
      name: "netns",
      mountPath: "/run/netns",
      readOnly: true,
      mountPropagation: "HostToContainer",
    }],
  ]);
});

Deno.test("manifest() gives the agent the capabilities that it uses, and one container the right to mount", () => {
  const { metadata, spec } = find(objects(), "DaemonSet").spec.template;
  const security = new Map(
    [...spec.initContainers, ...spec.containers].map((one: Any) => [one.name, one.securityContext]),
  );
  assert.deepEqual([...security.keys()], ["install", "agent", "bpffs"]);
  for (const name of ["install", "agent"]) {
    assert.deepEqual(security.get(name), {
      capabilities: { drop: ["ALL"], add: ["DAC_OVERRIDE", "NET_ADMIN", "NET_RAW", "SYS_ADMIN"] },
      readOnlyRootFilesystem: true,
      seccompProfile: { type: "RuntimeDefault" },
      seLinuxOptions: { type: "spc_t", level: "s0" },
      appArmorProfile: undefined,
    });
    const key = `container.apparmor.security.beta.kubernetes.io/${name}`;
    assert.equal(metadata.annotations[key], "unconfined");
  }
  const later = find(
    manifest(readSetOptions([], manifestKeys), "1.2.3", 30),
    "DaemonSet",
  ).spec.template;
  assert.deepEqual(
    Object.keys(later.metadata.annotations).filter((key) => /apparmor/.test(key)),
    [],
  );
  for (const { securityContext } of [later.spec.initContainers[0], later.spec.containers[0]]) {
    assert.deepEqual(securityContext.appArmorProfile, { type: "Unconfined" });
  }
  assert.deepEqual(security.get("bpffs"), { privileged: true, readOnlyRootFilesystem: true });
  assert.deepEqual([spec.hostPID, spec.hostIPC], [undefined, undefined]);
});

Deno.test("manifest() adds SYS_RESOURCE for kernels that count eBPF maps by RLIMIT_MEMLOCK", () => {
  const added = (...set: string[]) => {
    const { containers } = find(objects(...set), "DaemonSet").spec.template.spec;
    return containers[0].securityContext.capabilities.add.includes("SYS_RESOURCE");
  };
  assert.deepEqual(
    ["5.10", "5.10.0-28-amd64", "4.18"].map((one) => added(`kernel=${one}`)),
    [true, true, true],
  );
  assert.deepEqual(["5.11", "5.14.0", "6.1"].map((one) => added(`kernel=${one}`)), [
    ...[false, false, false],
  ]);
  assert.throws(() => added("kernel=new"), /version of Linux/);
});

Deno.test("manifest() adds NET_BIND_SERVICE where settings name ports below 1024", () => {
  const added = (...set: string[]) => {
    const { containers } = find(objects(...set), "DaemonSet").spec.template.spec;
    return containers[0].securityContext.capabilities.add.includes("NET_BIND_SERVICE");
  };
  const low = [
    "healthAddress=127.0.0.1:80",
    "healthAddress=[::1]:80",
    "serviceNodePortRange=80-32767",
  ];
  assert.deepEqual(low.map((one) => added(one)), [true, true, true]);
  const high = [
    "healthAddress=off",
    "healthAddress=127.0.0.1:9879",
    "serviceNodePortRange=1024-32767",
  ];
  assert.deepEqual(high.map((one) => added(one)), [false, false, false]);
});

Deno.test("manifest() mounts of the node what containers use, read-only where they only read", () => {
  const mounts = (container: number, ...set: string[]) => {
    const { spec } = find(objects(...set), "DaemonSet").spec.template;
    const host = new Map(spec.volumes.map((one: Any) => [one.name, one.hostPath?.path]));
    return spec.containers[container].volumeMounts.filter(({ name }: Any) => host.get(name))
      .map(({ name, mountPath, mountPropagation, readOnly }: Any) =>
        [host.get(name), mountPath, mountPropagation, readOnly && "ro"].filter(Boolean).join(" ")
      );
  };
  assert.deepEqual(mounts(0), [
    "/sys/fs /sys/fs HostToContainer ro",
    "/sys/fs/cgroup /sys/fs/cgroup ro",
    "/proc/sys/net /host/proc/sys/net",
    "/run/pcnk /run/pcnk",
    "/opt/cni/bin /opt/cni/bin",
    "/etc/cni/net.d /etc/cni/net.d",
    "/var/lib/cni /var/lib/cni",
  ]);
  // Nothing of the runtime may be mounted below: not at the node's own path.
  assert.deepEqual(mounts(1), ["/sys/fs /host/sys/fs Bidirectional"]);
  assert.deepEqual(mounts(1, "bpffs=/srv/bpf"), ["/srv /host/srv Bidirectional"]);
  assert.equal(mounts(0, "bpffs=/srv/bpf")[0], "/srv /srv HostToContainer ro");
  const command = (...set: string[]) =>
    find(objects(...set), "DaemonSet").spec.template.spec.containers[1].command;
  assert.deepEqual(command(), ["pcnk", "__bpffs", "/host/sys/fs/bpf"]);
  assert.deepEqual(command("bpffs=/srv/bpf"), ["pcnk", "__bpffs", "/host/srv/bpf"]);
});

Deno.test("manifest() tells agents another address of the API server", () => {
  for (const given of ["192.0.2.1:6443", "https://192.0.2.1", "192.0.2.1"]) {
    const { env } = find(objects(`apiServer=${given}`), "DaemonSet").spec.template.spec
      .containers[0];
    const value = (name: string) => env.find((one: Any) => one.name === name)?.value;
    assert.equal(value("KUBERNETES_SERVICE_HOST"), "192.0.2.1");
    assert.equal(value("KUBERNETES_SERVICE_PORT"), "6443");
  }
  for (const bad of ["", "a:0", "a:70000", "http://a", "a/b", "a b"]) {
    assert.throws(() => objects(`apiServer=${bad}`), /apiServer must be/);
  }
});

Deno.test("manifest() asks the agent's health where it tells it, or not at all", () => {
  const agent = (...set: string[]) =>
    find(objects(...set), "DaemonSet").spec.template.spec.containers[0];
  const { httpGet } = agent("healthAddress=127.0.0.1:1234").livenessProbe;
  assert.deepEqual(httpGet, { host: "127.0.0.1", port: 1234, path: "/livez" });
  assert.equal(agent().readinessProbe.httpGet.path, "/readyz");
  assert.equal(agent("healthAddress=off").livenessProbe, undefined);
});

Deno.test("manifest() selects the architectures that the image has", () => {
  const values = (...set: string[]) => {
    const text = JSON.stringify(manifest(readSetOptions(set, manifestKeys), "1.2.3"));
    return /"kubernetes.io\/arch","operator":"In","values":(\[[^\]]*\])/.exec(text)?.[1];
  };
  assert.equal(values(), Deno.build.arch === "aarch64" ? '["arm64"]' : '["amd64"]');
  assert.equal(values("arch=amd64,arm64"), '["amd64","arm64"]');
  assert.throws(() => values("arch=mips"), /amd64, arm64/);
});

Deno.test("renderManifest() says how an image without a registry gets onto a node", () => {
  const head = (...set: string[]) =>
    renderManifest(manifest(readSetOptions(set, manifestKeys), "1.2.3"), "1.2.3").split("---")[0]!;
  assert.match(head(), /ssh NODE ctr -n k8s\.io images import/);
  const digest = `sha256:${"0".repeat(64)}`;
  assert.match(
    head(`image=localhost/pcnk@${digest}`),
    /images import --base-name localhost\/pcnk --digests \/tmp/,
  );
  assert.doesNotMatch(head("image=registry.example/pcnk:1"), /import/);
});
