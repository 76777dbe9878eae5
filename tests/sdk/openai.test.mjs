/* The official OpenAI SDK through andiron: what an application sees while Fireworks has a bad day.
 *
 * Every test has an andiron and an upstream of its own, and fails too if andiron does not end with
 * exit code 0 and without a sanitizer's report. */
import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import nodeTest from 'node:test';
import OpenAI, { toFile } from 'openai';

import { API_KEY, startAndiron } from './andiron.mjs';
import {
  LOST_ANSWERS, MODELS, OK, STATUS_FAULTS, answerTo, cut, deltasTo, refusal, seededFaults, sha256,
  startUpstream, steps, vectorOf,
} from './upstream.mjs';

const SEED = process.env.ANDIRON_TEST_SEED || '1';
const [MODEL] = MODELS;
const TEST_LIMIT = 60_000;              /* bounds, not expectations */
const SURVIVAL_LIMIT = 290_000;
const DEFAULT_MAX_ATTEMPTS = 5;
const MIB = 1024 * 1024;

const test = (name, body, timeout = TEST_LIMIT) => nodeTest(name, { timeout }, body);

/* profile: see startAndiron. The rest are options of the SDK's. */
async function start(t, plan, { profile, ...options } = {}) {
  const directory = await mkdtemp(join(tmpdir(), 'andiron-sdk-'));
  let upstream, andiron;
  t.after(async () => {
    try {
      await andiron?.stop();
    } finally {
      await upstream?.close();
      await rm(directory, { recursive: true });
    }
  });
  upstream = await startUpstream(directory, plan);
  andiron = await startAndiron(directory, upstream, profile);
  const { baseURL } = andiron;
  const client = new OpenAI({ apiKey: 'andiron', baseURL, logLevel: 'off', ...options });
  return { directory, upstream, andiron, client };
}

const chat = (prompt, more = {}) =>
  ({ model: MODEL, messages: [{ role: 'user', content: prompt }], ...more });
const HELLO = chat('Hello');
const HELLO_STREAM = chat('Hello', { stream: true });

/* Reads a stream to its end. onText is told the text so far, after every piece. */
async function read(stream, onText = () => {}) {
  let text = '', finish = null;
  for await (const chunk of stream) {
    const [choice] = chunk.choices;
    text += choice.delta.content ?? '';
    finish = choice.finish_reason ?? finish;
    onText(text);
  }
  return { text, finish };
}

/* The same of an answer that is no stream. */
function whole({ choices: [{ message, finish_reason }] }) {
  return { text: message.content, finish: finish_reason };
}

async function failure(promise) {
  const [outcome] = await Promise.allSettled([promise]);
  assert.equal(outcome.status, 'rejected', `no exception, but ${JSON.stringify(outcome.value)}`);
  return outcome.reason;
}

const only = (events, kind) => events.filter(({ event }) => event === kind);

/* What is sent, seen from below the SDK. */
function spy() {
  const bodies = [];
  return { bodies, fetch: (url, init) => (bodies.push(init.body), fetch(url, init)) };
}

/* ---- what works as it would without andiron ---- */

test('chat', async (t) => {
  const { client, upstream } = await start(t);
  const answer = await client.chat.completions.create(HELLO);
  assert.equal(answer.choices[0].message.content, answerTo('Hello'));
  assert.equal(answer.usage.total_tokens, 14);
  assert.equal(upstream.attempts.length, 1);
});

test('stream: the whole text and the finish reason', async (t) => {
  const { client, upstream } = await start(t);
  const stream = await client.chat.completions.create(HELLO_STREAM);
  assert.deepEqual(await read(stream), { text: answerTo('Hello'), finish: 'stop' });
  const helper = client.chat.completions.stream(chat('Helper'));
  assert.equal(await helper.finalContent(), answerTo('Helper'));
  assert.equal(upstream.attempts.length, 2);
});

test('the key: the word andiron becomes FIREWORKS_API_KEY', async (t) => {
  const { client, upstream } = await start(t);
  await client.chat.completions.create(HELLO);
  assert.equal(upstream.attempts[0].headers.authorization, `Bearer ${API_KEY}`);
});

test('a prompt of 3 MiB arrives byte for byte', async (t) => {
  const { bodies, fetch } = spy();
  const { client, upstream } = await start(t, undefined, { fetch });
  const words = 'Große Öfen 🔥 ';
  const prompt = words.repeat(Math.ceil(3 * MIB / Buffer.byteLength(words)));
  const answer = await client.chat.completions.create(chat(prompt));
  assert.equal(answer.choices[0].message.content, answerTo(prompt));
  assert.ok(upstream.attempts[0].body.length >= 3 * MIB);
  assert.equal(upstream.attempts[0].sha256, sha256(bodies[0]));
});

test('embeddings', async (t) => {
  const { client } = await start(t);
  const { data } = await client.embeddings.create({ model: MODEL, input: ['one', 'two'] });
  assert.deepEqual(data.map(({ embedding }) => embedding), [vectorOf('one'), vectorOf('two')]);
});

test('the list of models', async (t) => {
  const { client } = await start(t);
  const ids = [];
  for await (const { id } of client.models.list())
    ids.push(id);
  assert.deepEqual(ids, MODELS);
});

/* A recording with every byte in it, line ends and would-be boundaries among them. */
const EVERY_BYTE = Buffer.from([...Array(256).keys()]);
const RECORDING = Buffer.concat([
  Buffer.from('RIFF\r\n--\r\n0\r\n\r\n'), ...Array(1500).fill(EVERY_BYTE)]);
const transcriptOf = (name) => `whisper-v3 ${name} ${RECORDING.length} ${sha256(RECORDING)}`;

test('an upload from a buffer, with a length', async (t) => {
  const { bodies, fetch } = spy();
  const { client, upstream } = await start(t, steps(refusal(503), OK), { fetch });
  const file = await toFile(RECORDING, 'buffer.wav');
  const { text } = await client.audio.transcriptions.create({ model: 'whisper-v3', file });
  assert.equal(text, transcriptOf('buffer.wav'));
  assert.ok(bodies[0] instanceof FormData);
  assert.equal(bodies.length, 1);
  assert.equal(upstream.attempts.length, 2);
});

test('a chunked upload, which the SDK could not repeat, outlives a 503', async (t) => {
  const { bodies, fetch } = spy();
  const { client, directory, upstream } = await start(t, steps(refusal(503), OK), { fetch });
  const path = join(directory, 'stream.wav');
  await writeFile(path, RECORDING);
  const file = createReadStream(path);
  const { text } = await client.audio.transcriptions.create({ model: 'whisper-v3', file });
  assert.equal(text, transcriptOf('stream.wav'));
  assert.ok(bodies[0] instanceof ReadableStream);
  assert.equal(bodies.length, 1);
  assert.equal(upstream.attempts.length, 2);
  assert.equal(upstream.attempts[0].sha256, upstream.attempts[1].sha256);
});

test('40 in parallel are at the upstream at once', async (t) => {
  const all = Promise.withResolvers();
  let waiting = 0;
  const { client, upstream } = await start(t, async () => {
    if (++waiting === 40)
      all.resolve();
    await all.promise;
    return OK;
  });
  const prompts = Array.from({ length: 40 }, (_, i) => `Question ${i}`);
  const ask = (prompt) => client.chat.completions.create(chat(prompt));
  const answers = await Promise.all(prompts.map(ask));
  assert.deepEqual(answers.map(({ choices }) => choices[0].message.content), prompts.map(answerTo));
  assert.equal(upstream.attempts.length, 40);
});

/* ---- a client that leaves ---- */

test('an abort in mid-stream ends the upstream request, and no attempt follows', async (t) => {
  const { client, upstream, andiron } = await start(t, () => cut('hang', { after: 3 }));
  const leave = new AbortController();
  const stream = await client.chat.completions.create(HELLO_STREAM, { signal: leave.signal });
  await read(stream, (text) => text && leave.abort());
  assert.equal(await upstream.attempts[0].ended, 'aborted');
  await andiron.stop();
  assert.equal(upstream.attempts.length, 1);
});

test('an abort before the answer ends the upstream request, and no attempt follows', async (t) => {
  const arrived = Promise.withResolvers();
  const { client, upstream, andiron } = await start(t, () => (arrived.resolve(), cut('hang')));
  const leave = new AbortController();
  const aborted = failure(client.chat.completions.create(HELLO, { signal: leave.signal }));
  await arrived.promise;
  leave.abort();
  assert.ok(await aborted instanceof OpenAI.APIUserAbortError);
  assert.equal(await upstream.attempts[0].ended, 'aborted');
  await andiron.stop();
  assert.equal(upstream.attempts.length, 1);
});

/* ---- errors that are the upstream's word ---- */

for (const [status, type] of [
  [400, OpenAI.BadRequestError], [401, OpenAI.AuthenticationError], [404, OpenAI.NotFoundError],
]) {
  for (const stream of [false, true]) {
    const what = stream ? `${status} for a stream` : status;
    test(`${what} goes back at once, as the SDK's own ${type.name}`, async (t) => {
      const message = `simulated ${status}: prompt is too long, say 10 €`;
      const { client, upstream, andiron } = await start(t, () => refusal(status, {}, message));
      const error = await failure(client.chat.completions.create(stream ? HELLO_STREAM : HELLO));
      assert.ok(error instanceof type, `a ${error.constructor.name}`);
      assert.equal(error.message, `${status} ${message}`);
      assert.equal(error.headers.get('x-andiron-source'), 'upstream');
      await andiron.stop();
      assert.equal(upstream.attempts.length, 1);
    });
  }
}

/* ---- what the application does not get to see ---- */

for (const [name, fault, stream] of [
  ['a 503', refusal(503), false],
  ['a 503 for a stream', refusal(503), true],
  ['a 429 with retry-after-ms', refusal(429, { 'retry-after-ms': '20' }), false],
  ['a connection that is reset before the answer', cut('rst'), false],
  ['a connection that is reset before a stream', cut('rst'), true],
  ['a connection that is closed before the answer', cut('fin'), false],
  ['half an answer', cut('fin', { after: 1 }), false],
]) {
  test(`made good unseen: ${name}`, async (t) => {
    const { client, upstream } = await start(t, steps(fault, OK), { maxRetries: 0 });
    const request = client.chat.completions.create(stream ? HELLO_STREAM : HELLO);
    const { data, response } = await request.withResponse();
    const { text } = stream ? await read(data) : whole(data);
    assert.equal(text, answerTo('Hello'));
    assert.equal(response.headers.get('x-andiron-attempts'), '2');
    const [first, second] = upstream.attempts;
    assert.equal(upstream.attempts.length, 2);
    assert.ok(first.id, 'an attempt has an X-Request-Id');
    assert.equal(first.id, second.id);
    assert.equal(first.sha256, second.sha256);
  });
}

/* ---- streams that break ---- */

/* What andiron may call a break in a stream. */
const LOST = ['http_response_incomplete', 'connection_terminated'];
const BREAKS = { fin: LOST, rst: LOST, end: ['stream_truncated'] };

for (const [name, ending, half] of [
  ['FIN without a last chunk', 'fin', false],
  ['FIN within an event', 'fin', true],
  ['RST', 'rst', false],
  ['RST within an event', 'rst', true],
  ['a clean end without [DONE]', 'end', false],
]) {
  test(`a stream that breaks is an exception with andiron's message: ${name}`, async (t) => {
    const delivered = deltasTo('Hello').slice(0, 2).join('');
    const { promise: when, resolve } = Promise.withResolvers();
    const plan = () => cut(ending, { after: 3, half, when });
    const { client, upstream, andiron } = await start(t, plan);
    const stream = await client.chat.completions.create(HELLO_STREAM);
    let text = '';
    const error = await failure(read(stream, (soFar) => {
      text = soFar;
      if (text === delivered)
        resolve();                      /* only now the stream breaks */
    }));
    assert.equal(text, delivered);
    assert.ok(error instanceof OpenAI.APIError, `a ${error.constructor.name}: ${error.message}`);
    assert.match(error.message, /Fireworks/);
    assert.ok(BREAKS[ending].includes(error.code), `code ${error.code}`);
    await andiron.stop();
    assert.equal(upstream.attempts.length, 1);
  });

  test(`a stream that breaks is a broken body for whoever reads bytes only: ${name}`, async (t) => {
    const [, lastDelta] = deltasTo('Hello');
    const { promise: when, resolve } = Promise.withResolvers();
    const { andiron } = await start(t, () => cut(ending, { after: 3, half, when }));
    const response = await fetch(`${andiron.baseURL}/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(HELLO_STREAM),
    });
    let body = '';
    await failure((async () => {
      for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
        body += piece;
        if (body.includes(lastDelta))
          resolve();
      }
      return body;
    })());
    assert.match(body, /\n\nevent: error\ndata: \{"type":"error","error":\{.*\}\}\n\n/);
    assert.doesNotMatch(body, /\[DONE\]/);
  });
}

/* ---- attempts that are used up ---- */

test('used-up attempts are one exception, the last answer of the upstream', async (t) => {
  const plan = ({ number }) => refusal(503, {}, `overloaded, answer ${number}`);
  const { client, upstream, andiron } = await start(t, plan);
  const error = await failure(client.chat.completions.create(HELLO));
  assert.ok(error instanceof OpenAI.InternalServerError, `a ${error.constructor.name}`);
  assert.equal(error.message, `503 overloaded, answer ${DEFAULT_MAX_ATTEMPTS}`);
  assert.equal(error.headers.get('x-should-retry'), 'false');
  assert.equal(error.headers.get('x-andiron-source'), 'upstream');
  const events = await andiron.stop();
  assert.equal(upstream.attempts.length, DEFAULT_MAX_ATTEMPTS);
  assert.equal(new Set(upstream.attempts.map(({ id }) => id)).size, 1);
  assert.equal(only(events, 'request').length, 1);
  assert.equal(only(events, 'attempt').length, DEFAULT_MAX_ATTEMPTS);
});

for (const stream of [false, true]) {
  const answer = stream ? 'a stream' : 'an answer';
  test(`used-up attempts without ${answer} are one exception, andiron's own`, async (t) => {
    const profile = { max_attempts: 3 };
    const { client, upstream, andiron } = await start(t, () => cut('rst'), { profile });
    const error = await failure(client.chat.completions.create(stream ? HELLO_STREAM : HELLO));
    assert.ok(error instanceof OpenAI.InternalServerError, `a ${error.constructor.name}`);
    assert.equal(error.status, 502);
    assert.match(error.message, /Fireworks/);
    assert.equal(error.headers.get('x-should-retry'), 'false');
    assert.equal(error.headers.get('x-andiron-source'), 'andiron');
    await andiron.stop();
    assert.equal(upstream.attempts.length, 3);
  });
}

/* ---- survival ---- */

/* `count` requests, half of them streams, 16 at a time, while a third of the upstream's answers are
 * faults. Eight models, because a 429 sets the pace of its model alone. */
async function survive(t, count, faults) {
  const plan = seededFaults(SEED, faults);
  const { client, upstream, andiron } = await start(t, plan, { maxRetries: 0 });
  const failed = [];
  const ask = async (i) => {
    const id = `survival-${i}`;
    const stream = i % 2 === 0;
    const model = `accounts/fireworks/models/m${(i >> 1) % 8}`;
    const body = chat(`Question ${i}`, { stream, model });
    const headers = { 'X-Request-Id': id };
    try {
      const answer = await client.chat.completions.create(body, { headers });
      const { text, finish } = stream ? await read(answer) : whole(answer);
      assert.deepEqual({ text, finish }, { text: answerTo(`Question ${i}`), finish: 'stop' });
    } catch (error) {
      failed.push(`${id}: ${error.message}`);
    }
  };
  const turns = Array(count).keys();
  await Promise.all(Array.from({ length: 16 }, async () => {
    for (const i of turns)
      await ask(i);
  }));

  assert.deepEqual(failed, [], `of ${count} requests with seed ${SEED}`);
  return { upstream, events: await andiron.stop() };
}

const isFault = (attempt) => attempt.status !== 200;

/* The upstream did what the tests rest on, and no request was sent again after a good answer. */
function checkFaults(t, upstream, count) {
  const faults = upstream.attempts.filter(isFault).length;
  const share = faults / upstream.attempts.length;
  t.diagnostic(`seed ${SEED}: ${upstream.attempts.length} attempts, ${faults} of them faults`);
  assert.ok(share > 0.2 && share < 0.5, `a share of ${share} was to be a third`);
  assert.equal(upstream.attempts.length - faults, count);
  for (let i = 0; i < count; i++) {
    const attempts = upstream.attemptsOf(`survival-${i}`);
    assert.ok(attempts.length <= 4 && !isFault(attempts.at(-1)), `survival-${i}`);
    assert.equal(new Set(attempts.map(({ sha256: sum }) => sum)).size, 1, `survival-${i}`);
  }
}

test('survival: 300 requests through 503, 502 and 429', async (t) => {
  const { upstream, events } = await survive(t, 300, STATUS_FAULTS);
  checkFaults(t, upstream, 300);

  /* The event log tells of just the faults that there were. */
  const told = only(events, 'attempt').map(({ request_id, status }) => `${request_id} ${status}`);
  const given = upstream.attempts.filter(isFault).map(({ id, status }) => `${id} ${status}`);
  assert.deepEqual(told.sort(), given.sort());
  const requests = only(events, 'request').map(({ request_id }) => request_id);
  assert.equal(requests.length, 300);
  assert.equal(new Set(requests).size, 300);
}, SURVIVAL_LIMIT);

test('survival: 100 requests through lost connections', async (t) => {
  const { upstream } = await survive(t, 100, LOST_ANSWERS);
  checkFaults(t, upstream, 100);
}, SURVIVAL_LIMIT);
