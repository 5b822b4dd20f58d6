"""Lets Python processes start warm: see ../server.py.

Python imports this module when it starts, in every process whose PYTHONPATH names this folder. A
worker of Ray hands itself over to the server at $COLORGAN_WARM, and with $COLORGAN_WARM_COMMANDS so
does a command of colorgan; one of Ray's own services stays, and lets a process of the server do its
work. Everything else goes on as usual.
"""

import os
import sys

WORKER = "/ray/_private/workers/default_worker.py"
SERVICES = ("/ray/dashboard/dashboard.py", "/ray/autoscaler/_private/monitor.py")
COMMANDS = ("colorgan", "jobs", "ray.", "scripts/", "serve", "tests.", "torch.distributed.run")
# The process that starts a submitted job stays a child of the raylet, from which the job learns
# where Ray was started. Ray tells it alone to leave its GPUs alone.
SUPERVISOR = "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"


def begin(words: list[str]) -> None:
    """Hand this process over, if it is one of those."""
    supervises = SUPERVISOR in os.environ or any(SUPERVISOR in word for word in words)
    for place, word in enumerate(words[:4]):
        if word.endswith(WORKER) and not supervises:
            # It may stand behind the script that sets up the worker's environment.
            script = place - words[place - 1].endswith("setup_worker.py")
            if start(words[script:], waits=False):
                os._exit(0)
        elif word.endswith(SERVICES) or word == "ray.util.client.server":
            become(words[place - (words[place - 1] == "-m") :])
        elif word.startswith(COMMANDS) and "COLORGAN_WARM_COMMANDS" in os.environ:
            if place and words[place - 1] == "-m":
                become(words[place - 1 :])
            elif word.endswith(".py"):
                become(words[place:])


def start(arguments: list[str], waits: bool):
    """Ask the server for the process; returns its number and the connection, or None."""
    # Imported here, because every process that does not start warm would pay for it.
    import json
    import socket

    server = socket.socket(socket.AF_UNIX)
    try:
        server.connect(os.environ["COLORGAN_WARM"])
    except OSError:
        return None
    request = {
        "arguments": arguments,
        "environment": dict(os.environ),
        "folder": os.getcwd(),  # noqa: PTH109 - pathlib is not imported
        "waits": waits,
    }
    words = json.dumps(request).encode()
    socket.send_fds(server, [len(words).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(words)
    return int.from_bytes(server.recv(8), "big", signed=True), server


def become(arguments: list[str]) -> None:
    """Pass signals on to the process, and end as it does."""
    import signal

    started = start(arguments, waits=True)
    if started is None:
        return
    child, server = started
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda which, frame: os.kill(child, which))
    answer = server.recv(8)
    status = int.from_bytes(answer, "big", signed=True) if answer else 1
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if "COLORGAN_WARM" in os.environ:
    begin(sys.orig_argv)
