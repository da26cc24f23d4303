/** Each command has an example, and every example, here and in docs/, is a valid call. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import type { Command } from "@commander-js/extra-typings";
import { buildProgram, runCli } from "./main.ts";

const folder = new URL("../../", import.meta.url);
const silent = { out: () => {}, err: () => {} };

/** Every command with its words, `lab up`; without hidden ones. */
async function allCommands(): Promise<[words: string, command: Command][]> {
  const program = await buildProgram(silent, () => true);
  const list = (command: Command, words: string[]): [string, Command][] => [
    [words.join(" "), command],
    ...command.createHelp().visibleCommands(command).filter((one) => one.name() !== "help")
      .flatMap((one) => list(one as unknown as Command, [...words, one.name()])),
  ];
  return list(program, []).slice(1);
}

async function help(words: string, width?: number): Promise<string> {
  let text = "";
  const out = (part: string) => void (text += part);
  const code = await runCli([...words.split(" "), "--help"], {
    out,
    err: out,
    width,
  });
  equal(code, 0, words);
  return text;
}

/** Whether these words are a call that pcnk would act on; nothing is done. */
async function accepts(words: string[]): Promise<true | string> {
  let said = "";
  const err = (text: string) => void (said += text);
  const program = await buildProgram({ out: () => {}, err }, () => true);
  const disarm = (command: Command) => {
    // An action is what makes commander check the arguments; one that has only commands below it shows its help instead.
    const acts = "_actionHandler" in command && command._actionHandler !== null;
    if (acts || command.commands.length === 0) command.action(() => {});
    for (const event of ["preAction", "postAction"] as const) {
      (command as unknown as { _lifeCycleHooks: Record<string, unknown[]> })
        ._lifeCycleHooks[event] = [];
    }
    command.commands.forEach((one) => disarm(one as unknown as Command));
  };
  disarm(program);
  try {
    await program.parseAsync(words, { from: "user" });
    return true;
  } catch (error) {
    return (error as { exitCode?: number }).exitCode === 0 ? true : said || String(error);
  }
}

/** Calls of pcnk in text, each as words: prompts, comments, pipes and redirections of a shell are left out. */
function calls(text: string): string[][] {
  const joined = text.replaceAll(/\\\n\s*/g, " ");
  return joined.split("\n").flatMap((line) => {
    const [, call] =
      /^\s*(?:#? ?\$ )?(?:sudo )?(?:source <\(|.*-- (?:\$PWD\/dist\/)?)?(?:dist\/)?pcnk (.*)$/.exec(
        line,
      ) ?? [];
    if (call === undefined) return [];
    const end = call.search(/ {2,}|\s[|>#;&]|[)…]| \\$/);
    const words = (end < 0 ? call : call.slice(0, end)).trim().split(/\s+/);
    return words[0] === "" || /^[A-Z]|^\(/.test(words[0]!) ? [] : [words];
  });
}

Deno.test("calls() finds calls of pcnk in help and in shell blocks", () => {
  const text = `
  pcnk get nodes -o json              what it does
$ pcnk status
dist/pcnk lab exec node1 -- $PWD/dist/pcnk get services   # comment
pcnk manifest --set apiServer=192.0.2.10:6443 | kubectl apply -f -
`;
  deepEqual(calls(text), [
    ["get", "nodes", "-o", "json"],
    ["status"],
    ["get", "services"],
    ["manifest", "--set", "apiServer=192.0.2.10:6443"],
  ]);
});

Deno.test("every command's help has an example that is a right call, and its exit codes", async () => {
  const all = await allCommands();
  ok(all.length > 18, `${all.length} commands`);
  for (const [words, command] of all) {
    const text = await help(words);
    const [, examples = ""] = /^Examples?:\n((?: {2}.*\n)+)/m.exec(text) ?? [];
    const found = calls(examples);
    ok(found.length > 0, `pcnk ${words} --help has no example`);
    ok(
      found.some((call) => call.join(" ").startsWith(words)),
      `no example of pcnk ${words} is one of it`,
    );
    for (const call of found) equal(await accepts(call), true, `pcnk ${call.join(" ")}`);
    if (command.commands.length === 0) match(text, /^Exit codes: 0 .*, 2 usage error\.$/m);
    match(await help(`help ${words}`.replace(/ --help$/, "")), new RegExp(`^Usage: pcnk ${words}`));
  }
});

Deno.test("every call of pcnk in README and docs is a right one", async () => {
  const files = ["README.md"];
  for (const { name } of Deno.readDirSync(new URL("docs/", folder))) {
    if (name.endsWith(".md")) files.push(`docs/${name}`);
  }
  let count = 0;
  for (const file of files) {
    const text = Deno.readTextFileSync(new URL(file, folder));
    for (const [, language, block = ""] of text.matchAll(/^```(.*)\n([^]*?)^```$/gm)) {
      if (language !== "" && language !== "sh") continue;
      for (const words of calls(block)) {
        count++;
        equal(await accepts(words), true, `${file}: pcnk ${words.join(" ")}`);
      }
    }
  }
  ok(count > 20, `${count} calls`);
});

Deno.test("a name that is nearly right gets a suggestion: commands, options, values, kinds", async () => {
  const cases: [string, RegExp][] = [
    ["staus", /\(Did you mean status\?\)/],
    ["lab upp", /\(Did you mean up\?\)/],
    ["get services --namspace x", /\(Did you mean --namespace\?\)/],
    ["get servces", /Did you mean services\?/],
    ["log-level debgu", /\(Did you mean debug\?\)/],
    ["status -o jsn", /\(Did you mean json\?\)/],
  ];
  for (const [call, wanted] of cases) {
    let said = "";
    const code = await runCli(call.split(" "), {
      out: () => {},
      err: (text) => void (said += text),
    });
    equal(code, 2, call);
    match(said, wanted, call);
  }
});
