"""Clients of the Python library that append to lists and move money between accounts, through all
cities, while the cities are killed and restarted by whoever started this.

Usage: history.py SECONDS PORT... . Prints a line of JSON for each transaction, with what was asked
and told, and when; the checker is elsewhere. Ends by reading everything at every city.
"""

import json
import random
import sys
import threading
import time

import redis

LISTS = 4
ACCOUNTS = 6
OPENING = 1_000
CERTAIN = ("CLUSTERDOWN", "TRYAGAIN")

seconds = float(sys.argv[1])
ports = [int(port) for port in sys.argv[2:]]
began = time.monotonic()
lock = threading.Lock()
lines = []
next_element = [0]
told = [0] * len(ports)


def now_us():
    return int((time.monotonic() - began) * 1_000_000)


def record(**fields):
    with lock:
        lines.append(fields)


def connect(port):
    # No retries inside the library: an unknown outcome must stay one.
    return redis.Redis(port=port, socket_timeout=15, retry=None, single_connection_client=True,
                       decode_responses=True)


def transact(client, kind, process, ops, watch=None):
    """One transaction; true if it was answered."""
    invoked = now_us()
    entry = {"kind": kind, "process": process, "invoked": invoked, "ops": ops}
    try:
        pipe = client.pipeline(transaction=True)
        for op in ops:
            getattr(pipe, op[0])(*op[1:])
        entry["result"] = pipe.execute()
        entry["returned"] = now_us()
        record(**entry)
        return True
    except redis.ResponseError as error:
        entry["failed"] = str(error).startswith(CERTAIN) or "CLUSTERDOWN" in str(error) or "TRYAGAIN" in str(error)
        record(**entry)
        return entry["failed"]
    except redis.RedisError:
        # It may have been applied, and may yet be.
        entry["failed"] = False
        record(**entry)
        return False


def append(number, seat):
    draw = random.Random(number)
    process = number
    client = connect(ports[seat])
    while time.monotonic() - began < seconds:
        ops = []
        for _ in range(draw.randint(1, 3)):
            key = f"list:{draw.randrange(LISTS)}"
            if draw.random() < 0.4:
                ops.append(["lrange", key, 0, -1])
            else:
                with lock:
                    next_element[0] += 1
                    ops.append(["rpush", key, next_element[0]])
        if transact(client, "list", process, ops):
            told[seat] += 1
        else:
            process += 1_000
            client.close()
            time.sleep(0.1)


def transfer(number, seat):
    draw = random.Random(number)
    client = connect(ports[seat])
    while time.monotonic() - began < seconds:
        source, target = draw.sample(range(ACCOUNTS), 2)
        keys = [f"account:{source}", f"account:{target}"]
        try:
            with client.pipeline() as pipe:
                pipe.watch(*keys)
                balance = int(pipe.get(keys[0]))
                amount = draw.randint(1, 50)
                if balance < amount:
                    continue
                pipe.multi()
                pipe.decrby(keys[0], amount)
                pipe.incrby(keys[1], amount)
                pipe.execute()
                told[seat] += 1
        except redis.WatchError:
            pass
        except redis.RedisError:
            client.close()
            time.sleep(0.1)


def audit(number, seat):
    client = connect(ports[seat])
    while time.monotonic() - began < seconds:
        transact(client, "audit", number, [["mget", *[f"account:{n}" for n in range(ACCOUNTS)]]])
        time.sleep(0.05)


first = connect(ports[0])
first.mset({f"account:{n}": OPENING for n in range(ACCOUNTS)})
threads = []
for seat in range(len(ports)):
    for work in (append, append, transfer, transfer, audit):
        threads.append(threading.Thread(target=work, args=(len(threads), seat)))
[thread.start() for thread in threads]
[thread.join() for thread in threads]

for seat, port in enumerate(ports):
    deadline = time.monotonic() + 60
    ops = [["lrange", f"list:{n}", 0, -1] for n in range(LISTS)]
    accounts = [["mget", *[f"account:{n}" for n in range(ACCOUNTS)]]]
    client = connect(port)
    while not (transact(client, "list", 900_000 + seat, ops)
               and transact(client, "audit", 900_000 + seat, accounts)):
        if time.monotonic() > deadline:
            sys.exit(f"the city at port {port} does not answer")
        client.close()
        time.sleep(0.2)

for line in lines:
    print(json.dumps(line))
print(json.dumps({"told": told}))
