/* The clients, each used as a careful user of it writes it: what it cannot say by an exception, it
 * has to say by the kind of the part or by a status.
 *
 *   name       of the client and of the way to use it
 *   kind       plain or stream
 *   dialect    that it speaks: completions, messages, responses
 *   class      of its requests, as andiron sees them: replayable, guarded
 *   tells      it shows an error's message
 *   ask        ({ baseURL, model }) to { text, finish }, or an exception
 *   requests   that it makes of a lasting failure (1)
 *
 * The prompt is the model's name, which is another one for every request. */
import Anthropic from '@anthropic-ai/sdk';
import { createFireworks } from '@ai-sdk/fireworks';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { ChatOpenAI } from '@langchain/openai';
import { generateText, streamText } from 'ai';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { text as readText } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import OpenAI from 'openai';
import OpenAI4 from 'openai4';

import { cleanEnvironment } from '../andiron.mjs';

const apiKey = 'andiron';
const chat = (model, more) => ({ model, messages: [{ role: 'user', content: model }], ...more });

/* ---- the OpenAI SDKs, which obey x-should-retry: their own retries stay as they are ---- */

const openai = (Client) => ({ baseURL }) => new Client({ apiKey, baseURL, logLevel: 'off' });
const openai7 = openai(OpenAI);
const openai4 = openai(OpenAI4);

const create = (client) => async (to) => {
  const answer = await client(to).chat.completions.create(chat(to.model));
  const choice = answer.choices?.[0];
  return { text: choice?.message?.content, finish: choice?.finish_reason };
};

const iterate = (client) => async (to) => {
  const stream = await client(to).chat.completions.create(chat(to.model, { stream: true }));
  let text = '', finish;
  for await (const chunk of stream) {
    const choice = chunk.choices?.[0];
    text += choice?.delta?.content ?? '';
    finish = choice?.finish_reason ?? finish;
  }
  return { text, finish };
};

const helper = (completions) => async (to) => {
  const { choices: [choice] } = await completions(to).stream(chat(to.model)).finalChatCompletion();
  return { text: choice.message.content, finish: choice.finish_reason };
};

async function createResponse(to) {
  const answer = await openai7(to).responses.create({ model: to.model, input: to.model });
  return { text: answer.output_text, finish: answer.status };
}

async function streamResponse(to) {
  const body = { model: to.model, input: to.model, stream: true };
  let text = '', finish;
  for await (const event of await openai7(to).responses.create(body)) {
    if (event.type === 'response.output_text.delta')
      text += event.delta;
    if (event.type === 'response.completed')
      finish = event.response.status;
  }
  return { text, finish };
}

/* ---- the Anthropic SDK, which obeys it too ---- */

const anthropic = ({ baseURL }) =>
  new Anthropic({ apiKey, baseURL: baseURL.replace(/\/v1$/, ''), logLevel: 'off' }).messages;
const message = (model, more) => chat(model, { max_tokens: 100, ...more });

async function createMessage(to) {
  const answer = await anthropic(to).create(message(to.model));
  return { text: answer.content?.[0]?.text, finish: answer.stop_reason };
}

async function iterateMessage(to) {
  let text = '', finish;
  for await (const event of await anthropic(to).create(message(to.model, { stream: true }))) {
    if (event.type === 'content_block_delta')
      text += event.delta.text;
    if (event.type === 'message_delta')
      finish = event.delta.stop_reason;
  }
  return { text, finish };
}

async function helpMessage(to) {
  const { content: [{ text }], stop_reason } =
    await anthropic(to).stream(message(to.model)).finalMessage();
  return { text, finish: stop_reason };
}

/* ---- the AI SDK and LangChain, which retry whatever they are told, but by their option ---- */

const fireworks = ({ baseURL, model }) => createFireworks({ apiKey, baseURL })(model);
const compatible = ({ baseURL, model }) =>
  createOpenAICompatible({ name: 'andiron', apiKey, baseURL })(model);
const generate = (provider, maxRetries = 0) => async (to) => {
  const answer = await generateText({ model: provider(to), prompt: to.model, maxRetries });
  return { text: answer.text, finish: answer.finishReason };
};

/* Its streams give an error to onError and as a part; one that the transport reports they throw. */
const streamParts = (provider) => async (to) => {
  let text = '', finish, failure;
  const onError = ({ error }) => { failure ??= error; };
  const { fullStream } =
    streamText({ model: provider(to), prompt: to.model, maxRetries: 0, onError });
  try {
    for await (const part of fullStream) {
      if (part.type === 'text-delta')
        text += part.text;
      if (part.type === 'finish')
        finish = part.finishReason;
    }
  } catch (error) {
    failure ??= error;
  }
  if (failure)
    throw failure;
  return { text, finish };
};

/* Whoever reads the text only is told nothing but what the stream throws. */
const streamWords = (provider) => async (to) => {
  const { textStream, finishReason } = streamText({
    model: provider(to), prompt: to.model, maxRetries: 0, onError: () => {} });
  let text = '';
  for await (const words of textStream)
    text += words;
  return { text, finish: await finishReason };
};

const langchain = ({ baseURL, model }, maxRetries) =>
  new ChatOpenAI({ model, apiKey, maxRetries, configuration: { baseURL, logLevel: 'off' } });

const invoke = (maxRetries = 0) => async (to) => {
  const answer = await langchain(to, maxRetries).invoke(to.model);
  return { text: answer.content, finish: answer.response_metadata.finish_reason };
};

async function streamChain(to) {
  let text = '', finish;
  for await (const chunk of await langchain(to, 0).stream(to.model)) {
    text += chunk.content;
    finish = chunk.response_metadata.finish_reason ?? finish;
  }
  return { text, finish };
}

/* ---- clients that know HTTP only ---- */

/* They see a success wherever the transport reports no error and the status is 200. */
const raw = (fetch, kind) => async ({ baseURL, model }) => {
  const url = `${baseURL}/chat/completions`;
  const body = JSON.stringify(chat(model, { stream: kind === 'stream' }));
  const { status, text, error } = await fetch({ url, body, stream: kind === 'stream' });
  if (error || status !== 200)
    throw Object.assign(new Error(`${error ?? ''} ${text}`), { status });
  return (kind === 'stream' ? parseStream : parsePlain)(text);
};

function parsePlain(body) {
  try {
    const { choices: [{ message: { content: text }, finish_reason: finish }] } = JSON.parse(body);
    return { text, finish };
  } catch {
    return { text: body };
  }
}

function parseStream(body) {
  let text = '', finish;
  for (const [, data] of body.matchAll(/^data: (\{.*\})\r?$/gm)) {
    const choice = JSON.parse(data).choices?.[0];
    text += choice?.delta?.content ?? '';
    finish = choice?.finish_reason ?? finish;
  }
  return { text, finish };
}

async function nodeFetch({ url, body }) {
  const headers = { 'content-type': 'application/json' };
  let status = 0, text = '';
  try {
    const answer = await fetch(url, { method: 'POST', headers, body });
    status = answer.status;
    for await (const piece of answer.body.pipeThrough(new TextDecoderStream()))
      text += piece;
    return { status, text };
  } catch (error) {
    return { status, text, error: `${error}` };
  }
}

/* Judged by its exit code. */
async function curl({ url, body }) {
  const child = spawn('curl', [
    '--disable', '--silent', '--show-error', '--no-buffer', '--max-time', '120',
    '--header', 'Content-Type: application/json', '--data-binary', '@-',
    '--write-out', '\n%{http_code}', url,
  ], { env: cleanEnvironment() });
  child.stdin.on('error', () => {});
  child.stdin.end(body);
  const [output, said, [code]] = await Promise.all([
    readText(child.stdout), readText(child.stderr), once(child, 'close')]);
  const end = output.lastIndexOf('\n');
  return {
    status: Number(output.slice(end + 1)),
    text: output.slice(0, end),
    error: code === 0 ? undefined : `exit code ${code}: ${said}`,
  };
}

/* Debian's Python and its packages: one process for all of them, since each takes a second to
 * start. Whichever other python3 comes first on the PATH does not have them. */
let python;
function startPython() {
  const child = spawn('/usr/bin/python3', [fileURLToPath(new URL('raw.py', import.meta.url))], {
    env: cleanEnvironment(), stdio: ['pipe', 'pipe', 'inherit'],
  });
  const waiting = new Map();
  createInterface(child.stdout).on('line', (line) => {
    const answer = JSON.parse(line);
    waiting.get(answer.id)(answer);
    waiting.delete(answer.id);
  });
  let last = 0;
  return {
    ask: (job) => new Promise((resolve) => {
      const id = ++last;
      waiting.set(id, resolve);
      child.stdin.write(`${JSON.stringify({ id, ...job })}\n`);
    }),
    stop: () => child.kill(),
  };
}
const inPython = (client) => (job) => (python ??= startPython()).ask({ client, ...job });
export const stopPython = () => python?.stop();

const RAW = {
  'fetch': nodeFetch, curl,
  ...Object.fromEntries(['requests', 'httpx', 'aiohttp', 'urllib3', 'urllib'].map((name) =>
    [name, inPython(name)])),
};

/* ---- all of them ---- */

const SDKS = {
  plain: {
    'openai 7': create(openai7),
    'openai 7 responses': createResponse,
    'openai 4': create(openai4),
    'anthropic': createMessage,
    'ai fireworks': generate(fireworks),
    'ai openai-compatible': generate(compatible),
    'langchain': invoke(),
  },
  stream: {
    'openai 7': iterate(openai7),
    'openai 7 helper': helper((to) => openai7(to).chat.completions),
    'openai 7 responses': streamResponse,
    'openai 4': iterate(openai4),
    'openai 4 helper': helper((to) => openai4(to).beta.chat.completions),
    'anthropic': iterateMessage,
    'anthropic helper': helpMessage,
    'ai fireworks': streamParts(fireworks),
    'ai openai-compatible': streamParts(compatible),
    'ai text only': streamWords(fireworks),
    'langchain': streamChain,
  },
};

const dialectOf = (name) => /anthropic/.test(name) ? 'messages'
  : /responses/.test(name) ? 'responses' : 'completions';
const classOf = (name) => /responses/.test(name) ? 'guarded' : 'replayable';
const client = (name, kind, tells, ask) =>
  ({ name, kind, tells, ask, dialect: dialectOf(name), class: classOf(name) });

export const CLIENTS = ['plain', 'stream'].flatMap((kind) => [
  ...Object.entries(SDKS[kind]).map(([name, ask]) =>
    client(name, kind, !name.includes('text only'), ask)),
  ...Object.entries(RAW).map(([name, fetch]) => client(name, kind, false, raw(fetch, kind))),
]);

/* SDKs as they are out of the box, but LangChain, whose seven attempts take minutes. */
export const WITH_OWN_RETRIES = [
  { ...client('openai 7', 'plain', true, create(openai7)), requests: 1 },
  { ...client('openai 4', 'plain', true, create(openai4)), requests: 1 },
  { ...client('anthropic', 'plain', true, createMessage), requests: 1 },
  { ...client('ai fireworks', 'plain', true, generate(fireworks, 2)), requests: 3 },
  { ...client('langchain', 'plain', true, invoke(1)), requests: 2 },
];

/* Asks, and gives the verdict: { outcome: 'success', text, finish }, { outcome: 'error', status,
 * message }, or { outcome: 'hang' }. */
export async function judge({ ask }, to, limit) {
  const { promise: hung, resolve } = Promise.withResolvers();
  const timer = setTimeout(resolve, limit, { outcome: 'hang' });
  const asked = ask(to).then(
    (answer) => ({ outcome: 'success', ...answer }),
    (error) => ({
      outcome: 'error',
      status: error?.status ?? error?.statusCode,
      message: error?.message ?? `${error}`,
    }));
  return Promise.race([asked, hung]).finally(() => clearTimeout(timer));
}
