import { deepEqual, equal, rejects } from "node:assert/strict";
import { ImdsDouble } from "../../tests/support/imds.ts";
import { Imds } from "./imds.ts";

Deno.test("Imds asks with a token of version 2, keeps it, and gets a new one when it is refused", async () => {
  await using service = new ImdsDouble();
  const imds = new Imds({ endpoint: service.url });
  deepEqual(await imds.identity(), { instanceId: "i-1", region: "eu-central-1" });
  const { accessKeyId, sessionToken, expiration } = await imds.credentials();
  deepEqual([accessKeyId, sessionToken, expiration > new Date()], ["AKIDEXAMPLE", "session", true]);
  const puts = () => service.asked.filter((line) => line === "PUT /latest/api/token").length;
  equal(puts(), 1);
  service.forget();
  await imds.identity();
  equal(puts(), 2);
});

Deno.test("Imds tries again after an error of the service", async () => {
  await using service = new ImdsDouble();
  service.failing = 2;
  equal((await new Imds({ endpoint: service.url }).identity()).instanceId, "i-1");
});

Deno.test("Imds says what is wrong and what to do", async () => {
  const failing = async (change: (service: ImdsDouble) => void, message: RegExp) => {
    await using service = new ImdsDouble();
    change(service);
    const imds = new Imds({ endpoint: service.url, timeoutMs: 100, attempts: 2 });
    await rejects(imds.credentials(), { name: "ImdsError", message });
  };
  await failing((service) => service.silent = true, /does not answer; .*hop limit must be 2/);
  await failing(
    (service) => service.disabled = true,
    /is turned off for this instance; turn it on/,
  );
  await failing((service) => service.role = undefined, /no IAM role; attach one/);
  await failing((service) => service.failing = 9, /answered 500/);
  await rejects(
    new Imds({ endpoint: "http://127.0.0.1:1" }).identity(),
    /cannot be reached.*is this an EC2 instance/,
  );
});
