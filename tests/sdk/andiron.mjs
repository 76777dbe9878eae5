/* The real andiron: started with a configuration of its own, watched, stopped as a service is. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const BINARY = process.env.ANDIRON
  || fileURLToPath(new URL('../../build/andiron', import.meta.url));
const TRANSPORT = process.env.ANDIRON_TEST_TRANSPORT || 'native';
const START_LIMIT = 30_000;             /* bounds, not expectations: a sanitizer build is slow */
const STOP_LIMIT = 45_000;              /* longer than the drain_timeout of 30 s */
const SANITIZER = /^.*(?:\w+Sanitizer:|runtime error:).*$/m;

/* Andiron uses this in place of the word `andiron` that the SDK has for a key. */
export const API_KEY = 'fw_sdk_tests_key';

/* directory: a temporary one. profile: keys of [profile.default] beside what makes it quick, keys:
 * of [upstream.fireworks]. */
export async function startAndiron(directory, upstream, profile = {}, keys = {}) {
  const eventLog = join(directory, 'events.jsonl');
  const configuration = join(directory, 'andiron.ini');
  await writeFile(configuration, render({
    'server': { listen: '127.0.0.1:0', admin: 'off' },
    'log': { events: eventLog, format: 'json' },
    'upstream.fireworks': {
      url: upstream.url, ca_file: upstream.caFile, transport: TRANSPORT,
      pacing: 'off', breaker: 'off', retry_budget: 'off', ...keys,
    },
    'profile.default': { backoff_base: '20ms', jitter: 'none', ...profile },
  }));

  const { origin, ...andiron } = await start(
    ['run', '-c', configuration], { FIREWORKS_API_KEY: API_KEY }, eventLog);
  return { baseURL: `${origin}/v1`, ...andiron };
}

/* `andiron demo`, whose first answer is a 503, in a hurry. */
export async function startDemo(directory) {
  const eventLog = join(directory, 'events.jsonl');
  const options = ['--listen', '127.0.0.1:0', '--admin', 'off', '--event-log', eventLog];
  return start(['demo', ...options], {
    ANDIRON_PROFILE_DEFAULT_BACKOFF_BASE: '10ms', ANDIRON_PROFILE_DEFAULT_JITTER: 'none',
  }, eventLog);
}

async function start(command, variables, eventLog) {
  const child = spawn(BINARY, command, {
    env: { ...cleanEnvironment(), ...variables },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const closed = once(child, 'close');
  closed.catch(() => {});               /* a binary that cannot be started is reported below */
  const stderr = [];
  const origin = await address(child, closed, stderr);
  let stopping;

  return {
    origin,
    /* What the event log holds so far. */
    events: () => readEvents(eventLog),
    /* Ends it with SIGTERM, once, and checks that it leaves in order. Gives the event log. */
    stop: () => (stopping ??= stop(child, closed, stderr, eventLog)),
  };
}

const render = (sections) => Object.entries(sections).flatMap(([name, keys]) =>
  [`[${name}]`, ...Object.entries(keys).map(([key, value]) => `${key} = ${value}`), '']).join('\n');

/* What the machine has set for its own andiron and its own way out is not for the one under test. */
export function cleanEnvironment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) =>
    !/^(ANDIRON|FIREWORKS)_|^ANDIRON$|_PROXY$/i.test(name)));
}

function address(child, closed, stderr) {
  const { promise, resolve, reject } = Promise.withResolvers();
  const fail = (reason) => reject(new Error(`${BINARY} ${reason}\n${stderr.join('\n')}`));
  createInterface(child.stderr).on('line', (line) => {
    stderr.push(line);
    const found = /listening on.*?(http:\/\/127\.0\.0\.1:\d+)/.exec(line);
    if (found)
      resolve(found[1]);
  });
  closed.then(([code, signal]) => fail(`ended with ${signal ?? code} before it listened`), fail);
  const limit = setTimeout(() => {
    child.kill('SIGKILL');
    fail('did not say where it is listening');
  }, START_LIMIT);
  return promise.finally(() => clearTimeout(limit));
}

async function stop(child, closed, stderr, eventLog) {
  const limit = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT);
  child.kill('SIGTERM');
  const [code, signal] = await closed;
  clearTimeout(limit);

  const said = stderr.join('\n');
  assert.equal(SANITIZER.exec(said)?.[0], undefined, `a sanitizer's report:\n${said}`);
  assert.equal(signal ?? code, 0, `andiron ended with ${signal ?? code}, not 0:\n${said}`);
  const log = await readFile(eventLog, 'utf8');
  assert.ok(!`${said}\n${log}`.includes(API_KEY), 'the API key is in a log');
  return parseEvents(log);
}

/* Without a last line that is still being written. */
const parseEvents = (log) => log.split('\n').slice(0, -1).map((line) => JSON.parse(line));
const readEvents = async (file) => parseEvents(await readFile(file, 'utf8').catch(() => ''));
