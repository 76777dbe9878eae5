/* A simulated Fireworks: an https server on localhost that answers as the plan of a test says.
 *
 * A plan is a function, called for every attempt with its record. It returns (or promises) a step:
 *
 *   OK                                   the whole answer
 *   refusal(503, headers, message)       an error answer
 *   cut(ENDING, { after, half, when })   `after` pieces of the answer, with `half` also half of the
 *                                        next one; then, once `when` is settled, the ending
 *
 * The pieces of a stream are its events, those of any other answer are its two halves. Nothing is
 * sent before the first piece, so that cut('rst') is a connection that is lost before the answer.
 * An attempt belongs to the request that its X-Request-Id names, and carries its number in it. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { join } from 'node:path';

export const OK = {};
export const refusal = (status, headers = {}, message = `simulated ${status}`) =>
  ({ status, headers, message });
export const cut = (ending, { after = 0, half = false, when } = {}) =>
  ({ ending, after, half, when });

/* The attempts of each request get these steps in turn, and the last one ever after. */
export const steps = (...list) => ({ number }) => list[Math.min(number, list.length) - 1];

export const STATUS_FAULTS = [
  refusal(503), refusal(503), refusal(503),
  refusal(502), refusal(502), refusal(502),
  refusal(429), refusal(429, { 'retry-after-ms': '40' }), refusal(429, { 'retry-after': '1' }),
];
export const LOST_ANSWERS = [cut('rst'), cut('fin'), refusal(503)];

/* A third of the answers, as the seed has it, are faults, but never four in a row for a request. */
export const seededFaults = (seed, faults) => ({ id, number }) => {
  const draw = createHash('sha256').update(`${seed} ${id} ${number}`).digest();
  const isFault = number % 4 !== 0 && draw.readUInt32BE(0) % 3 === 0;
  return isFault ? faults[draw.readUInt32BE(4) % faults.length] : OK;
};

export const sha256 = (data) => createHash('sha256').update(data).digest('hex');

/* What the simulated model says to a prompt, in the pieces of a stream: another to every prompt. */
export const deltasTo = (prompt) =>
  ['Grüße', ' über', ' 10 €', ' für ', sha256(prompt), ' 🔥.'];
export const answerTo = (prompt) => deltasTo(prompt).join('');
export const vectorOf = (input) =>
  Array.from(createHash('sha256').update(input).digest(), (byte) => byte / 256);
export const MODELS = ['accounts/fireworks/models/small', 'accounts/fireworks/models/large'];

/* plan: see above. directory: a temporary one, for the certificate. */
export async function startUpstream(directory, plan = () => OK) {
  const attempts = [];
  const identity = makeCertificate(directory);
  const servers = await listenOnLocalhost(() => createServer(identity, attempts, plan));

  return {
    url: `https://localhost:${servers[0].address().port}`,
    caFile: identity.caFile,
    attempts,                           /* in the order of their arrival */
    attemptsOf: (id) => attempts.filter((attempt) => attempt.id === id),
    async close() {
      await Promise.all(servers.map((server) => {
        const closed = once(server, 'close');
        server.close();
        server.closeAllConnections();
        return closed;
      }));
    },
  };
}

export function makeCertificate(directory) {
  const keyFile = join(directory, 'key.pem');
  const caFile = join(directory, 'ca.pem');
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
    '-keyout', keyFile, '-out', caFile, '-days', '2', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1',
  ], { stdio: 'pipe' });
  return { key: readFileSync(keyFile), cert: readFileSync(caFile), caFile };
}

/* On both families, because which of them the name stands for first differs between machines. */
async function listenOnLocalhost(create) {
  const first = await listen(create(), 0, '127.0.0.1');
  const second = await listen(create(), first.address().port, '::1').catch(() => null);
  return second ? [first, second] : [first];
}

async function listen(server, port, address) {
  server.listen(port, address);
  await once(server, 'listening');
  return server;
}

function createServer(identity, attempts, plan) {
  /* The TCP sockets below TLS: a reset needs them. */
  const wires = new Map();
  const wireOf = (socket) => wires.get(socket.remotePort);

  const options = { ...identity, ALPNProtocols: ['http/1.1'], keepAliveTimeout: 0 };
  const server = https.createServer(options);
  server.on('connection', (wire) => {
    const port = wire.remotePort;
    wires.set(port, wire);
    wire.on('close', () => wires.delete(port));
  });
  server.on('request', async (request, response) => {
    try {
      const attempt = await arrive(request, response, attempts);
      await answer(attempt, await plan(attempt), request, response, wireOf(request.socket));
    } catch (error) {
      /* Nobody may mistake a bug in the simulation for a fault of its plan. */
      console.error('upstream:', error);
      response.writeHead(418).end();
    }
  });
  return server;
}

/* Reads the request whole and records it. */
async function arrive(request, response, attempts) {
  const ended = Promise.withResolvers();
  const chunks = [];
  for await (const chunk of request)
    chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const id = request.headers['x-request-id'];
  const attempt = {
    id,
    number: attempts.filter((other) => other.id === id).length + 1,
    method: request.method,
    path: request.url,
    headers: request.headers,
    body,
    sha256: sha256(body),
    status: 0,                          /* what was answered; 0: nothing yet */
    isCut: false,                       /* by the plan */
    ended: ended.promise,               /* 'answered', 'cut', or 'aborted' by the other side */
  };
  response.on('close', () => ended.resolve(
    attempt.isCut ? 'cut' : response.writableFinished ? 'answered' : 'aborted'));
  attempts.push(attempt);
  return attempt;
}

async function answer(attempt, step, request, response, wire) {
  if (step.status)
    return refuse(attempt, step, response);

  const endpoint = ENDPOINTS[`${attempt.method} ${attempt.path}`];
  if (!endpoint)
    return refuse(attempt, refusal(404, {}, `no such path: ${attempt.path}`), response);
  const { headers, pieces } = await endpoint(attempt);
  response.writeHead(200, { ...headers, 'x-request-id': `${attempt.id}-upstream` });
  for (const piece of pieces.slice(0, step.after)) {
    attempt.status = 200;
    /* Two chunks, so that events and characters straddle them. */
    response.write(piece.subarray(0, piece.length / 2));
    response.write(piece.subarray(piece.length / 2));
  }
  if (!step.ending)
    return response.end();
  if (step.half)
    response.write(pieces[step.after].subarray(0, pieces[step.after].length / 2));
  await step.when;
  attempt.isCut = step.ending !== 'hang';
  ENDINGS[step.ending](request.socket, response, wire);
}

const ENDINGS = {
  fin: (socket) => socket.end(),                      /* close_notify, FIN, and no last chunk */
  rst: (_socket, _response, wire) => wire.resetAndDestroy(),
  end: (_socket, response) => response.end(),         /* a last chunk, as if that were all */
  hang: () => {},
};

const ERRORS = {
  400: ['invalid_request_error', 'BAD_REQUEST'],
  401: ['authentication_error', 'UNAUTHORIZED'],
  404: ['invalid_request_error', 'NOT_FOUND'],
  429: ['rate_limit_error', 'too_many_requests'],
  503: ['server_error', 'SERVICE_UNAVAILABLE'],
};

function refuse(attempt, { status, headers, message }, response) {
  attempt.status = status;
  if (status === 502) {                               /* a gateway's page */
    response.writeHead(502, { 'content-type': 'text/html', ...headers });
    return response.end(`<html><body><h1>502 Bad Gateway</h1>${message}</body></html>\n`);
  }
  const [type, code] = ERRORS[status];
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  return response.end(JSON.stringify({ error: { message, type, param: null, code } }));
}

const ENDPOINTS = {
  'POST /inference/v1/chat/completions': ({ body }) => {
    const { model, stream, messages } = JSON.parse(body);
    return (stream ? chatStream : chatAnswer)(model, messages.at(-1).content);
  },
  'POST /inference/v1/embeddings': ({ body }) => {
    const { model, input, encoding_format } = JSON.parse(body);
    const encode = (vector) => encoding_format === 'base64'
      ? Buffer.from(new Float32Array(vector).buffer).toString('base64') : vector;
    const data = [input].flat().map((text, index) => (
      { object: 'embedding', index, embedding: encode(vectorOf(text)) }));
    return json({ object: 'list', model, data, usage: { prompt_tokens: 8, total_tokens: 8 } });
  },
  'GET /inference/v1/models': () => json({
    object: 'list',
    data: MODELS.map((id) => ({ id, object: 'model', owned_by: 'fireworks', created: 1 })),
  }),
  'POST /inference/v1/audio/transcriptions': async ({ headers, body }) => {
    const type = headers['content-type'];
    const form = await new Response(body, { headers: { 'content-type': type } }).formData();
    const file = form.get('file');
    const data = Buffer.from(await file.arrayBuffer());
    return json({ text: `${form.get('model')} ${file.name} ${data.length} ${sha256(data)}` });
  },
};

export function json(value) {
  const body = Buffer.from(JSON.stringify(value));
  const middle = body.length / 2;
  return {
    headers: { 'content-type': 'application/json', 'content-length': body.length },
    pieces: [body.subarray(0, middle), body.subarray(middle)],
  };
}

export const chatAnswer = (model, prompt) => json({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model,
  choices: [{
    index: 0,
    finish_reason: 'stop',
    message: { role: 'assistant', content: answerTo(prompt) },
  }],
  usage: { prompt_tokens: 8, completion_tokens: 6, total_tokens: 14 },
});

export function chatStream(model, prompt) {
  const choice = (delta, finish_reason = null) => JSON.stringify({
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    created: 1,
    model,
    choices: [{ index: 0, delta, finish_reason }],
  });
  const events = [
    choice({ role: 'assistant' }),
    ...deltasTo(prompt).map((content) => choice({ content })),
    choice({}, 'stop'),
    '[DONE]',
  ];
  return {
    headers: { 'content-type': 'text/event-stream' },
    pieces: events.map((data) => Buffer.from(`data: ${data}\n\n`)),
  };
}
