"""The Python client library, unchanged, against two cities of a cluster.

Usage: python_client.py PORT OTHER_PORT [CA_FILE USER PASSWORD]. With the latter over TLS, as that user.
Prints the name of each check; ends with an error at the first that fails.
"""

import os
import sys
import threading
import time

import redis


def check(name, holds):
    print(("ok      " if holds else "FAILED  ") + name, flush=True)
    if not holds:
        sys.exit(1)


def raises(error, text, action):
    try:
        action()
    except error as caught:
        return text in str(caught)
    return False


def strings(here, there):
    check("set and get", here.set("greeting", "namaste") and here.get("greeting") == b"namaste")
    check("another city sees it at once", there.get("greeting") == b"namaste")
    check("nothing", here.get("no such key") is None)
    check("set if absent", here.set("greeting", "x", nx=True) is None)
    check("expiry", here.set("brief", "x", px=150) and here.ttl("brief") in (0, 1))
    time.sleep(0.3)
    check("expired here", here.get("brief") is None)
    check("expired there", there.get("brief") is None)
    check("counters", here.incr("n") == 1 and there.incrby("n", 41) == 42)
    check("many", here.mset({"m1": "a", "m2": "b"}) and there.mget("m1", "m2", "m3") == [b"a", b"b", None])


def binary(here, there):
    for size in (0, 1, 1 << 16, 1 << 20, 8 << 20):
        value = os.urandom(size)
        check(f"a value of {size} bytes", here.set("binary", value) and there.get("binary") == value)
    key = bytes(range(256))
    check("a key of all bytes", here.set(key, key) and there.get(key) == key)
    check("cleaning up", here.delete("binary", key) == 2)


def collections(here, there):
    here.hset("user:1", mapping={"name": "Asha", "city": "Delhi"})
    check("hashes", there.hgetall("user:1") == {b"name": b"Asha", b"city": b"Delhi"})
    here.rpush("queue", "a", "b", "c")
    check("lists", there.lpop("queue") == b"a" and here.lrange("queue", 0, -1) == [b"b", b"c"])
    here.sadd("tags", "x", "y")
    check("sets", there.smembers("tags") == {b"x", b"y"})
    here.zadd("scores", {"a": 1, "b": 2.5})
    check("sorted sets", there.zrange("scores", 0, -1, withscores=True) in
          ([(b"a", 1.0), (b"b", 2.5)], [[b"a", 1.0], [b"b", 2.5]]))
    for n in range(500):
        here.sadd("large", n)
    check("iterating over members", len(set(there.sscan_iter("large", count=20))) == 500)


def pipelines(here, there):
    pipe = here.pipeline(transaction=False)
    for n in range(2_000):
        pipe.set(f"p:{n}", n)
        pipe.get(f"p:{n}")
    replies = pipe.execute()
    check("a pipeline's replies are in order", replies[1::2] == [str(n).encode() for n in range(2_000)])
    pipe = here.pipeline(transaction=False)
    for n in range(300):
        pipe.incr("same")
    check("a pipeline of one key is in order", pipe.execute() == list(range(1, 301)))
    found = set(here.scan_iter("p:*", count=100))
    check("iterating over keys", len(found) == 2_000)
    check("counting keys", here.dbsize() >= 2_000)


def transactions(here, there):
    pipe = here.pipeline(transaction=True)
    pipe.set("t", 1).incr("t").get("t")
    check("a transaction", pipe.execute() == [True, 2, b"2"])

    # A conflict: another client changes what is watched.
    with here.pipeline() as pipe:
        pipe.watch("t")
        value = int(pipe.get("t"))
        there.set("t", 100)
        pipe.multi()
        pipe.set("t", value + 1)
        check("a conflict is noticed", raises(redis.WatchError, "", pipe.execute))
    check("nothing was done", here.get("t") == b"100")
    with here.pipeline() as pipe:
        pipe.watch("t")
        pipe.multi()
        pipe.set("t", 1)
        check("without one it goes through", pipe.execute() == [True])

    # Counting by read, compute, write from both cities at once: nothing is lost.
    here.set("count", 0)
    rounds, workers = 15, 4

    def increment(client):
        def change(pipe):
            value = int(pipe.get("count"))
            pipe.multi()
            pipe.set("count", value + 1)
        for _ in range(rounds):
            client.transaction(change, "count")

    threads = [threading.Thread(target=increment, args=(c,)) for c in (here, there) * (workers // 2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    check("watched counters lose nothing", int(here.get("count")) == rounds * workers)

    pipe = here.pipeline(transaction=True)
    pipe.set("t", "text").incr("t").get("t")
    replies = pipe.execute(raise_on_error=False)
    check("an error within does not undo the rest",
          replies[0] is True and isinstance(replies[1], redis.ResponseError) and replies[2] == b"text")


def errors(here):
    here.set("text", "x")
    check("wrong type", raises(redis.ResponseError, "WRONGTYPE", lambda: here.lpush("text", 1)))
    check("wrong arity", raises(redis.ResponseError, "wrong number of arguments for 'get' command",
                                lambda: here.execute_command("GET")))
    check("unknown command", raises(redis.ResponseError, "unknown command",
                                    lambda: here.execute_command("EVALUATE", "x")))
    check("no integer", raises(redis.ResponseError, "not an integer", lambda: here.incr("text")))


def strangers(port, ca, user, password):
    def ping(**more):
        client = redis.Redis(host="localhost", port=port, socket_timeout=10, protocol=2, **more)
        return client.ping()

    tls = {"ssl": True, "ssl_ca_certs": ca}
    check("over TLS with a password", ping(username=user, password=password, **tls))
    check("without a password", raises(redis.AuthenticationError, "Authentication required", lambda: ping(**tls)))
    check("with a wrong one", raises(redis.AuthenticationError, "invalid username-password pair",
                                     lambda: ping(username=user, password="wrong", **tls)))
    check("in clear", raises(redis.ConnectionError, "", lambda: ping(username=user, password=password)))
    check("without trust", raises(redis.ConnectionError, "CERTIFICATE_VERIFY_FAILED",
                                  lambda: ping(username=user, password=password, ssl=True)))


def main():
    ports, secure = [int(port) for port in sys.argv[1:3]], sys.argv[3:]
    more = {}
    if secure:
        ca, user, password = secure
        strangers(ports[0], ca, user, password)
        more = {"ssl": True, "ssl_ca_certs": ca, "username": user, "password": password}
    for protocol in (2, 3):
        print(f"RESP{protocol}")
        here, there = (redis.Redis(host="localhost", port=port, protocol=protocol, socket_timeout=60, **more)
                       for port in ports)
        here.flushall()
        check("ping", here.ping() and there.ping())
        check("info", here.info()["redis_mode"] == "standalone")
        check("client names", here.client_setname("test") and here.client_getname() in ("test", b"test"))
        strings(here, there)
        binary(here, there)
        collections(here, there)
        pipelines(here, there)
        transactions(here, there)
        errors(here)
    print(f"all checks hold with redis-py {redis.__version__}")


main()
