import assert from "node:assert/strict";
import { AccessError } from "./access.ts";
import { inCluster, parseKubeconfig } from "./kubeconfig.ts";

const file = "/etc/pcnk/kubeconfig";

/** A kubeconfig with these fields in its cluster and its user. */
const config = (cluster: object, user: object = {}, rest: object = {}) =>
  JSON.stringify({
    "current-context": "c",
    contexts: [{ name: "other" }, { name: "c", context: { cluster: "k", user: "u" } }],
    clusters: [{ name: "k", cluster: { server: "https://10.0.0.1:6443/", ...cluster } }],
    users: [{ name: "u", user }],
    ...rest,
  });
const access = (cluster: object, user: object = {}) => parseKubeconfig(config(cluster, user), file);

Deno.test("parseKubeconfig() reads the current context's cluster", () => {
  const { from, server, insecure, identity, ...others } = access({});
  assert.deepEqual({ from, server, insecure, identity }, {
    from: file,
    server: "https://10.0.0.1:6443",
    insecure: false,
    identity: {},
  });
  assert.deepEqual(new Set(Object.values(others)), new Set([undefined]));
  assert.deepEqual(access({ "certificate-authority": "pki/ca.crt" }).ca, {
    file: "/etc/pcnk/pki/ca.crt",
  });
  const both = { "certificate-authority": "x", "certificate-authority-data": btoa("PEM") };
  assert.deepEqual(access(both).ca, { text: "PEM" });
  const rest = access({ "insecure-skip-tls-verify": true, "tls-server-name": "api" });
  assert.deepEqual([rest.insecure, rest.tlsServerName], [true, "api"]);
  assert.equal(access({ "proxy-url": "http://proxy:3128" }).proxyUrl, "http://proxy:3128");
});

Deno.test("parseKubeconfig() reads every way to say who one is", () => {
  const identity = (user: object) => access({}, user).identity;
  assert.deepEqual(identity({ token: "t" }), { token: "t" });
  assert.deepEqual(identity({ tokenFile: "token" }), { tokenFile: "/etc/pcnk/token" });
  assert.deepEqual(identity({ username: "me", password: "p" }), { username: "me", password: "p" });
  assert.deepEqual(identity({ "client-certificate": "/c", "client-key-data": btoa("KEY") }), {
    cert: { file: "/c" },
    key: { text: "KEY" },
  });
  const exec = {
    apiVersion: "client.authentication.k8s.io/v1beta1",
    command: "./aws",
    args: ["get-token"],
    env: [{ name: "A", value: "b" }],
    installHint: "install it",
  };
  assert.deepEqual(identity({ exec }).exec, {
    ...exec,
    command: "/etc/pcnk/aws",
    env: { A: "b" },
    provideClusterInfo: false,
  });
});

const wrong: Record<string, [string, RegExp]> = {
  "no YAML": ["a: [", /^\/etc\/pcnk\/kubeconfig: ./],
  "no mapping": ["[]", /must be a mapping/],
  "no current-context": ["kind: Config", /current-context: is missing/],
  "a context that is not there": ["current-context: x", /contexts: there is none named x/],
  "no server": [config({ server: "" }), /clusters\.k\.server: is missing/],
  "a server that is no URL": [config({ server: "a b" }), /clusters\.k\.server: "a b" is not a URL/],
  "a server with a query": [config({ server: "https://h/?a=b" }), /is not a URL/],
  "a password in the server's URL": [config({ server: "https://u:s@h" }), /server: holds a name/],
  "a CA that is not to be used": [
    config({ "insecure-skip-tls-verify": true, "certificate-authority": "ca" }),
    /insecure-skip-tls-verify: excludes/,
  ],
  "a proxy of another protocol": [
    config({ "proxy-url": "ftp://u:s@p" }),
    /proxy-url: is not a URL/,
  ],
  "a name for the certificate that is none": [config({ "tls-server-name": "a/b" }), /host name/],
  "a token that is none": [config({}, { token: "a\nb" }), /users\.u\.token: holds/],
  "two groups to impersonate": [config({}, { as: "a", "as-groups": ["b", "c"] }), /may have one/],
  "a group without a user": [config({}, { "as-groups": ["b"] }), /users\.u\.as: is missing/],
  "a server of another protocol": [config({ server: "ftp://h" }), /is not a URL/],
  "data that is not base64": [config({ "certificate-authority-data": "?" }), /is not base64/],
  "a certificate without its key": [config({}, { "client-certificate": "c" }), /belong together/],
  "an auth-provider": [config({}, { "auth-provider": { name: "gcp" } }), /use exec/],
  "a plugin of an unknown version": [
    config({}, { exec: { command: "x", apiVersion: "v9" } }),
    /exec\.apiVersion: must be/,
  ],
};
for (const [what, [content, message]] of Object.entries(wrong)) {
  Deno.test(`parseKubeconfig() says where it is wrong: ${what}`, () => {
    assert.throws(() => parseKubeconfig(content, file), (error: Error) => {
      assert.ok(error instanceof AccessError);
      assert.match(error.message, message);
      return error.message.startsWith(file) && !error.message.includes("\n");
    });
  });
}

Deno.test("parseKubeconfig() completes a server as client-go does", () => {
  const server = (given: string, rest: object = {}) => access({ server: given, ...rest }).server;
  assert.equal(server("10.0.0.1:8080"), "http://10.0.0.1:8080");
  assert.equal(server("api:6443", { "insecure-skip-tls-verify": true }), "https://api:6443");
  assert.equal(
    server("[fd00::1]:6443", { "certificate-authority": "ca" }),
    "https://[fd00::1]:6443",
  );
  assert.equal(server("HTTPS://[FD00::1]/k8s/clusters/c-1/"), "https://[fd00::1]/k8s/clusters/c-1");
});

Deno.test("parseKubeconfig() sends impersonation as headers", () => {
  const user = { as: "me", "as-uid": "7", "as-groups": ["g"], "as-user-extra": { "A/b": ["c"] } };
  assert.deepEqual(access({}, user).identity.headers, {
    "impersonate-user": "me",
    "impersonate-uid": "7",
    "impersonate-group": "g",
    "impersonate-extra-a%2Fb": "c",
  });
});

Deno.test("inCluster() uses the pod's variables and files", () => {
  const env: Record<string, string> = {
    KUBERNETES_SERVICE_HOST: "fd00::1",
    KUBERNETES_SERVICE_PORT: "443",
  };
  const found = inCluster((name) => env[name], "/sa");
  assert.equal(found.server, "https://[fd00::1]:443");
  assert.deepEqual(found.ca, { file: "/sa/ca.crt" });
  assert.deepEqual(found.identity, { tokenFile: "/sa/token" });
  assert.throws(() => inCluster(() => undefined), /this is no pod/);
});
