#!/usr/bin/env python3
"""Opens the live page of a running cluster in a real browser, while clients write: on a desk, on a phone, in the dark.

    python3 server/look.py PANCHAYAT_BINARY PICTURES_DIR

Needs Chromium. Fails if the page says anything on the console, is not drawn, shows other than what it
should, or is wider than the screen. Leaves a picture of each to look at.
"""

import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
import look  # noqa: E402  (bench/look.py: the browser, and how a page is asked)

VIEWS = {
    "desk": ["--window-size=1280,1500"],
    "phone": ["--window-size=500,2400"],
    "dark": ["--window-size=1280,1500", "--blink-settings=preferredColorScheme=0"],
}


def load(port, stop):
    """Writes one key that all cities share, and others."""
    client = socket.create_connection(("127.0.0.1", port))
    number = 0
    while not stop.is_set():
        key = "hot" if number % 10 == 0 else f"{port}:{number}"
        client.sendall(f"SET {key} {number}\r\n".encode())
        client.recv(4096)
        number += 1


def start(binary, directory):
    """A cluster: the process, the ports of its clients, and its admin ports."""
    up = subprocess.Popen(
        [binary, "up", "--base-port", "0", "--durability", "memory", "--data-dir", directory],
        stdout=subprocess.PIPE, text=True)
    rows = []
    for line in up.stdout:
        found = re.search(r"127\.0\.0\.1:(\d+)\s+http://127\.0\.0\.1:(\d+)/", line)
        if found:
            rows.append((int(found[1]), int(found[2])))
        if "Ctrl-C stops" in line:
            break
    return up, [row[0] for row in rows], [row[1] for row in rows]


def view(name, pictures, label, arguments, uri, expected):
    failures = []
    picture = pictures / f"live-{label}.png"
    said = look.run(name, [*arguments, f"--screenshot={picture}"], uri).stderr
    failures += [f"{label}: {line}" for line in said.splitlines() if "CONSOLE" in line]
    if not picture.exists() or picture.stat().st_size < 20_000:
        failures.append(f"{label}: no picture to speak of")
    page = look.run(name, [*arguments, "--dump-dom"], uri).stdout
    root = look.Root()
    root.feed(page)
    print(f"live page, {label}: drawn {root.found.get('data-shown')} times")
    if int(root.found.get("data-shown", 0)) < 1:
        failures.append(f"{label}: it was never drawn")
    if root.found.get("data-wide") != "false":
        failures.append(f"{label}: wider than the screen")
    failures += [f"{label}: no `{text}` on it" for text in expected if text not in page]
    return failures


def main():
    binary, pictures = sys.argv[1], pathlib.Path(sys.argv[2])
    name = look.browser()
    if name is None:
        sys.exit("no Chromium here: apt-get install chromium")
    pictures.mkdir(parents=True, exist_ok=True)
    failures = []
    stop = threading.Event()
    with tempfile.TemporaryDirectory() as directory:
        up, clients, admins = start(binary, directory)
        try:
            for port in clients:
                threading.Thread(target=load, args=(port, stop), daemon=True).start()
            time.sleep(3)
            uri = f"http://127.0.0.1:{admins[0]}/"
            expected = ["3 of 3 serve", "bangalore", "All keys: epaxos", "asked the others at their admin ports"]
            for label, arguments in VIEWS.items():
                failures += view(name, pictures, label, arguments, uri, expected)
            with urllib.request.urlopen(uri + "cluster") as answer:
                cluster = json.load(answer)
            if any(replica["error"] for replica in cluster["replicas"]):
                failures.append(f"not all cities answer: {cluster}")
        finally:
            stop.set()
            up.terminate()
            up.wait()
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
