// The Node client library, unchanged, against two cities of a cluster.
// Usage: node node_client.mjs PORT OTHER_PORT. Prints each check; ends with an error at the first
// that fails.

import { randomBytes } from 'node:crypto';
import { createClient, RESP_TYPES, WatchError } from 'redis';

function check(name, holds) {
  console.log((holds ? 'ok      ' : 'FAILED  ') + name);
  if (!holds) process.exit(1);
}

async function fails(text, action) {
  try {
    await action();
  } catch (error) {
    return error.message.includes(text);
  }
  return false;
}

async function connect(port, RESP) {
  const client = createClient({ url: `redis://127.0.0.1:${port}`, RESP });
  client.on('error', (error) => { console.error(error); process.exit(1); });
  await client.connect();
  return client;
}

async function run(RESP) {
  console.log(`RESP${RESP}`);
  const here = await connect(process.argv[2], RESP);
  const there = await connect(process.argv[3], RESP);
  await here.flushAll();
  check('ping', (await here.ping()) === 'PONG');
  await here.set('greeting', 'namaste');
  check('another city sees it at once', (await there.get('greeting')) === 'namaste');
  check('nothing', (await there.get('no such key')) === null);
  check('counters', (await here.incr('n')) === 1 && (await there.incrBy('n', 41)) === 42);

  await here.hSet('user:1', { name: 'Asha', city: 'Delhi' });
  check('hashes', JSON.stringify(await there.hGetAll('user:1')) === '{"name":"Asha","city":"Delhi"}');
  await here.rPush('queue', ['a', 'b', 'c']);
  check('lists', (await there.lRange('queue', 0, -1)).join() === 'a,b,c');
  await here.zAdd('scores', [{ score: 1, value: 'a' }, { score: 2.5, value: 'b' }]);
  const scores = await there.zRangeWithScores('scores', 0, -1);
  check('sorted sets', JSON.stringify(scores.map((s) => [s.value, s.score])) === '[["a",1],["b",2.5]]');

  const typed = here.withTypeMapping ? here.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer }) : here;
  for (const size of [0, 1, 1 << 20, 8 << 20]) {
    const value = randomBytes(size);
    await typed.set('binary', value);
    check(`a value of ${size} bytes`, Buffer.compare(await typed.get('binary'), value) === 0);
  }

  const replies = await Promise.all(
    Array.from({ length: 1000 }, (_, n) => [here.set(`p:${n}`, `${n}`), here.get(`p:${n}`)]).flat(),
  );
  check('pipelined replies are in order', replies.every((reply, at) => at % 2 === 0 || reply === `${(at - 1) / 2}`));
  let found = 0;
  for await (const keys of here.scanIterator({ MATCH: 'p:*', COUNT: 100 })) {
    found += Array.isArray(keys) ? keys.length : 1;
  }
  check('iterating over keys', found === 1000);

  const done = await here.multi().set('t', '1').incr('t').get('t').exec();
  check('a transaction', JSON.stringify(done) === '["OK",2,"2"]');
  const conflict = await connect(process.argv[2], RESP);
  await conflict.watch('t');
  await there.set('t', '100');
  let noticed = false;
  try {
    await conflict.multi().set('t', '3').exec();
  } catch (error) {
    noticed = error instanceof WatchError;
  }
  check('a conflict is noticed', noticed && (await here.get('t')) === '100');
  await conflict.watch('t');
  check('without one it goes through', (await conflict.multi().set('t', '4').exec())[0] === 'OK');

  check('wrong type', await fails('WRONGTYPE', () => here.lPush('t', 'x')));
  check('wrong arity', await fails("wrong number of arguments for 'get' command", () => here.sendCommand(['GET'])));
  check('unknown command', await fails('unknown command', () => here.sendCommand(['EVALUATE'])));
  for (const client of [here, there, conflict]) client.destroy();
}

await run(2);
await run(3);
console.log('all checks hold');
process.exit(0);
