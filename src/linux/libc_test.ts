import assert from "node:assert/strict";
import "../../tests/support/libraries.ts";
import {
  closeFd,
  cstring,
  dupFd,
  openFile,
  SYS,
  syscall,
  SyscallError,
  trySyscall,
} from "./libc.ts";

Deno.test("syscall() reads through a buffer", () => {
  const fd = openFile("/proc/self/comm");
  try {
    const buffer = new Uint8Array(32);
    const length = syscall("read", fd, buffer, buffer.length);
    assert.equal(new TextDecoder().decode(buffer.subarray(0, length)).length, length);
    assert.ok(length > 1);
  } finally {
    closeFd(fd);
  }
});

Deno.test("syscall() throws what errno says", () => {
  assert.throws(
    () => syscall("close", -1),
    (error: SyscallError) =>
      error.code === "EBADF" && error.errno === 9 && error.syscall === "close" &&
      error.message === "close: EBADF: bad file descriptor",
  );
  assert.equal(trySyscall("close", -1), -9);
});

Deno.test("openFile() names the path in its error", () => {
  assert.throws(() => openFile("/none"), {
    code: "ENOENT",
    message: "openat: ENOENT: no such file or directory (/none)",
  });
});

Deno.test("dupFd() gives a descriptor of its own, close-on-exec", () => {
  const fd = openFile("/dev/null");
  const other = dupFd(fd);
  closeFd(fd);
  try {
    const info = Deno.readTextFileSync(`/proc/self/fdinfo/${other}`);
    const flags = parseInt(/^flags:\s*(\d+)/m.exec(info)![1]!, 8);
    assert.equal(flags & 0o2000000, 0o2000000);
  } finally {
    closeFd(other);
  }
});

Deno.test("cstring() ends with a NUL and takes none inside", () => {
  assert.deepEqual([...cstring("ab")], [97, 98, 0]);
  assert.throws(() => cstring("a\0b"), TypeError);
});

Deno.test("SYS has numbers of this architecture", () => {
  assert.equal(SYS.bpf, Deno.build.arch === "x86_64" ? 321 : 280);
});
