/* The code blocks in JavaScript of all Markdown files, with the real SDKs against `andiron demo`.
 *
 * Each has a demo of its own, whose first answer is a 503: what asks is retried. A client that asks
 * nothing is asked for its models, so that its address is tried. ../flow/test_examples.py has the
 * other languages. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { glob, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { cleanEnvironment, startDemo } from './andiron.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PACKAGES = fileURLToPath(new URL('node_modules', import.meta.url));
const TEST_LIMIT = 60_000;              /* a bound, not an expectation */
const AT_ONCE = 2;
const LEAST = 10;
const ONE_ATTEMPT = 'X-Andiron-Max-Attempts';  /* a block with this gets the 503 */
const ASKING = /\.(create|stream|invoke|finalMessage)\(|generateText\(|streamText\(|fetch\(/;

async function findBlocks() {
  const blocks = [];
  for await (const page of glob(['*.md', 'docs/**/*.md', 'tests/*/*.md'], { cwd: ROOT })) {
    const text = await readFile(join(ROOT, page), 'utf8');
    for (const match of text.matchAll(/^( *)```(?:js|ts)\n(.*?)^ *```$/gms)) {
      const line = text.slice(0, match.index).split('\n').length + 1;
      blocks.push({ name: `${page}:${line}`, code: match[2] });
    }
  }
  return blocks;
}

const withClient = (code) =>
  ASKING.test(code) ? code : `${code}\nawait client.models.list();\n`;

async function run(code, directory) {
  const file = join(directory, 'block.mjs');
  await writeFile(file, code);
  await symlink(PACKAGES, join(directory, 'node_modules'));
  const child = spawn(process.execPath, [file], { cwd: directory, env: cleanEnvironment() });
  const [said, complained, [status]] = await Promise.all([
    readText(child.stdout), readText(child.stderr), once(child, 'close')]);
  return { status, said, complained };
}

const blocks = await findBlocks();

test('there are blocks', () => assert.ok(blocks.length >= LEAST, `${blocks.length}`));

describe('examples', { concurrency: AT_ONCE }, () => {
  for (const { name, code } of blocks) {
    test(name, { timeout: TEST_LIMIT }, async () => {
      const directory = await mkdtemp(join(tmpdir(), 'andiron-examples-'));
      const demo = await startDemo(directory);
      let ran, events;
      try {
        ran = await run(withClient(code).replaceAll('http://localhost:8787', demo.origin), directory);
      } finally {
        events = await demo.stop();
        await rm(directory, { recursive: true });
      }
      assert.equal(ran.status, 0, ran.complained);
      assert.doesNotMatch(ran.said, /unfinished|undefined/);
      const only = (kind) => events.filter(({ event }) => event === kind).map(({ status }) => status);
      assert.equal(only('attempt')[0], 503, 'the block has met no failure');
      assert.deepEqual(only('request'), [code.includes(ONE_ATTEMPT) ? 503 : 200]);
    });
  }
});
