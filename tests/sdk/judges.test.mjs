/* The clients that people really use as judges of andiron: whatever breaks behind it, none of them
 * takes it for a success, none of them multiplies the attempts, and none of them sees a break that
 * andiron may make good.
 *
 * A test is a row of judges/breaks.mjs. All clients of judges/clients.mjs suffer it at once, each
 * twice: as one that lasts, and, where it may be repeated, as one that passes. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { startAndiron } from './andiron.mjs';
import { BREAKS, good } from './judges/breaks.mjs';
import { CLIENTS, WITH_OWN_RETRIES, judge, stopPython } from './judges/clients.mjs';
import { SLOW, startUpstream } from './judges/wire.mjs';
import { answerTo, makeCertificate } from './upstream.mjs';

const MAX_ATTEMPTS = 2;
const CALL_LIMIT = 30_000 * SLOW;       /* bounds, not expectations */
const TEST_LIMIT = 90_000 * SLOW;
const AT_ONCE = 4;
/* Parts of andiron that this build is known to lack: what rests on them is expected to fail. */
const MISSING = (process.env.ANDIRON_TEST_MISSING ?? '').split(' ');

const directory = await mkdtemp(join(tmpdir(), 'andiron-judges-'));
const identity = await makeIdentity('trusted');
const stranger = await makeIdentity('stranger');
after(async () => {
  stopPython();
  await rm(directory, { recursive: true });
});

async function makeIdentity(name) {
  const path = join(directory, name);
  await mkdir(path);
  return makeCertificate(path);
}

/* An upstream with this break and an andiron in front of it, for as long as `use` takes. Gives the
 * event log and the requests that reached the upstream. */
async function withBreak(row, use) {
  const path = await mkdtemp(join(directory, 'run-'));
  const script = (request) => isIll(row, request) ? row.steps(request) : good(request);
  const shown = row.isUntrusted ? { ...stranger, caFile: identity.caFile } : identity;
  const upstream = await startUpstream(shown, { ...row, script });
  try {
    const profile = { backoff_base: '10ms', max_attempts: MAX_ATTEMPTS, ...row.profile };
    /* Each client is to have the break for itself: what the others suffer changes nothing. */
    const andiron = await startAndiron(path, upstream, profile, { pacing: 'off', breaker: 'off' });
    let events;
    try {
      await use({ andiron, upstream });
    } finally {
      events = await andiron.stop();
    }
    return { events, requests: upstream.requests };
  } finally {
    await upstream.close();
  }
}

/* The name of the model says whose request it is, and whether its break passes. */
const LASTING = 'lasting', PASSING = 'passing';
const modelOf = (client, span) => `${client.kind} ${client.name} ${span}`;
const isIll = (row, { model, number }) =>
  row.steps && (number === 1 || model.endsWith(LASTING));

/* Lets all of them ask at once, and gives what there is to know of each. */
async function trial(row, clients, span, meanwhile = () => {}) {
  const verdicts = new Map();
  const { events, requests } = await withBreak(row, async ({ andiron, upstream }) => {
    await Promise.all([meanwhile({ andiron, upstream }), ...clients.map(async (client) => {
      const to = { baseURL: andiron.baseURL, model: modelOf(client, span) };
      verdicts.set(client, await judge(client, to, CALL_LIMIT));
    })]);
  });
  return clients.map((client) => {
    const isOwn = ({ model }) => model === modelOf(client, span);
    const own = events.filter(isOwn);
    const count = (kind) => own.filter(({ event }) => event === kind).length;
    return {
      client, span,
      verdict: verdicts.get(client),
      asked: count('request'),          /* requests of the client's */
      failed: count('attempt'),         /* attempts of andiron's that failed */
      arrived: requests.filter(isOwn).length,
    };
  });
}

/* What is wrong with the trial of a client. */
function complaints(row, { client, span, verdict, asked, failed, arrived }) {
  const wrong = [];
  const expect = (what, is, should) => is === should || wrong.push(`${what} ${is}, not ${should}`);

  const isGood = row.isWhole || span === PASSING;
  expect('outcome', verdict.outcome, isGood ? 'success' : 'error');
  expect('requests of the client', asked, client.requests ?? 1);
  if (isGood && verdict.outcome === 'success') {
    if (verdict.text !== answerTo(modelOf(client, span)))
      wrong.push('not the full text');
    if (!['stop', 'end_turn', 'completed'].includes(verdict.finish))
      wrong.push(`finish reason ${verdict.finish}`);
  }
  if (!isGood && verdict.outcome === 'error') {
    if (!row.isLate && verdict.status !== undefined)
      expect('status', verdict.status, row.status);
    if (row.says && client.tells && !row.says.test(verdict.message))
      wrong.push(`a message that does not say ${row.says}`);
  }

  const isBeforeSending = row.handshake || row.isRefusing || row.isUntrusted;
  if (span === LASTING) {
    const attempts = row.repeated.includes(client.class) ? MAX_ATTEMPTS : 1;
    const all = attempts * (client.requests ?? 1);
    expect('failed attempts', failed, row.isWhole ? 0 : all);
    expect('requests at the upstream', arrived, isBeforeSending ? 0 : all);
  } else if (isBeforeSending) {
    expect('a failed attempt', failed > 0, true);
    expect('requests at the upstream', arrived, 1);
  } else {
    expect('failed attempts', failed, 1);
    expect('requests at the upstream', arrived, 2);
  }
  return wrong;
}

/* One line for all the clients that have the same to complain of, with what the first one said. */
function check(row, results) {
  const lines = new Map();
  for (const result of results) {
    const wrong = complaints(row, result).join('; ');
    if (wrong)
      lines.set(wrong, [...lines.get(wrong) ?? [], result]);
  }
  assert.deepEqual([...lines].map(([wrong, results]) => {
    const names = results.map(({ client, span }) => modelOf(client, span));
    const said = results[0].verdict.message?.slice(0, 300);
    return `${wrong}: ${names.join(', ')}${said ? ` (${said})` : ''}`;
  }), []);
}

const suffers = (row) => ({ kind, dialect }) =>
  row.kinds.includes(kind) && (row.dialects ?? [dialect]).includes(dialect);

async function passingTrial(row, clients) {
  if (row.steps)
    return trial(row, clients, PASSING);
  /* A connection does not say whose it is: the break is over when everybody has had it. The first
   * ones wait for the last one, so they have more attempts. */
  const profile = { ...row.profile, max_attempts: 6, backoff_base: '500ms' };
  return trial({ ...row, profile }, clients, PASSING, async ({ andiron, upstream }) => {
    const met = async () => new Set((await andiron.events()).filter(({ event }) => event === 'attempt').map(({ model }) => model));
    while ((await met()).size < clients.length)
      await sleep(20);
    await upstream.heal();
  });
}

describe('breaks', { concurrency: AT_ONCE }, () => {
  for (const row of BREAKS) {
    const sufferers = CLIENTS.filter(suffers(row));
    const survivors = sufferers.filter((client) => row.repeated.includes(client.class));
    const todo = MISSING.includes(row.needs) && `needs ${row.needs}`;
    test(`${row.kinds.join(' and ')}: ${row.name}`, { timeout: TEST_LIMIT, todo }, async () => {
      const results = await Promise.all([
        trial(row, sufferers, LASTING), survivors.length ? passingTrial(row, survivors) : []]);
      check(row, results.flat());
    });
  }

  /* The AI SDK and LangChain cannot be told to stop by an answer, only by their user. */
  test('SDKs with their own retries after a lasting 503', { timeout: TEST_LIMIT }, async () => {
    const row = BREAKS.find(({ name }) => name === '503 with a JSON error');
    check(row, await trial(row, WITH_OWN_RETRIES, LASTING));
  });
});
