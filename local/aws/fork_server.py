"""A process that has imported a handler and forks environments from there, as SnapStart starts them from a snapshot.

`python -m local.aws.fork_server FD RUNTIME HANDLER` imports the handler's module and then forks once for each
message (the environment's variables as JSON, with the descriptor its output goes to) on the socket FD. It answers
each with the process's id, and says later how that ended. Only the standard library: `local.aws.template` is the
other end.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import selectors
import socket
import sys

MESSAGE_BYTES = 1 << 16


def main() -> None:
    """Imports, forks, and in each forked process runs the runtime."""
    runtime, handler = sys.argv[2:]
    importlib.import_module(handler.rpartition(".")[0].replace("/", "."))
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        sys.exit(f"{handler} has {threads} threads once it is imported; only a process with one can be forked.")
    gc.collect()
    gc.freeze()  # else a collection in a forked process would write to all that it shares
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        channel.send(b"{}")
        variables, output = serve(channel)
    os.environ.clear()
    os.environ.update(variables)
    for standard in (1, 2):
        os.dup2(output, standard)
    os.close(output)
    sys.argv = [runtime, handler]
    runpy.run_module(runtime, run_name="__main__", alter_sys=True)


def serve(channel: socket.socket) -> tuple[dict[str, str], int]:
    """Forks for each message; returns in the forked process alone, with its variables and where its output goes."""
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is channel:
                    message, (output,), _, _ = receive(channel)
                    pid = os.fork()
                    if pid == 0:
                        os.setpgid(0, 0)
                        return json.loads(message), output
                    os.close(output)
                    os.setpgid(pid, pid)  # on both sides: a signal to the group may come at once
                    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
                    channel.send(json.dumps({"forked": pid}).encode())
                else:
                    _, status = os.waitpid(key.data, 0)
                    selector.unregister(key.fileobj)
                    os.close(key.fd)
                    channel.send(json.dumps({"ended": key.data, "status": os.waitstatus_to_exitcode(status)}).encode())


def receive(channel: socket.socket) -> tuple[bytes, list[int], int, object]:
    """One message; ends this process when the other end has been closed."""
    found = socket.recv_fds(channel, MESSAGE_BYTES, 1)
    if not found[0]:
        sys.exit()
    return found


if __name__ == "__main__":
    main()
