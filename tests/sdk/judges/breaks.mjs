/* Every kind of break that an upstream has in store, one row each.
 *
 *   name
 *   kinds       of requests that it befalls: plain, stream; both where it does not say
 *   dialects    of requests that it befalls: completions, messages, responses; else all
 *   steps       of a request (see wire.mjs): what it is answered
 *   handshake   steps in place of TLS; or isRefusing: nobody listens; or isUntrusted
 *   profile     keys of [profile.default]
 *   repeated    the classes of requests that andiron sends again after it; none: []
 *   isWhole     nothing is missing: every client has the full text
 *   isLate      it comes when the client already has the 200
 *   status      what the client gets in the end, if it is not late
 *   says        what those clients that show a message show
 *   needs       the part of andiron that it rests on, where that is not in every build */
import { named } from './answers.mjs';
import { FIN, HANG, PAUSE, RST, SLOW } from './wire.mjs';

/* Replayable are all inference requests but those to /responses, which are guarded. */
const ALL = ['replayable', 'guarded'];
const REPLAYABLE = ['replayable'];
const NONE = [];

/* ---- bytes ---- */

const REASONS = {
  200: 'OK', 400: 'Bad Request', 401: 'Unauthorized', 404: 'Not Found', 408: 'Request Timeout',
  409: 'Conflict', 422: 'Unprocessable Content', 429: 'Too Many Requests',
  500: 'Internal Server Error', 502: 'Bad Gateway', 503: 'Service Unavailable',
  504: 'Gateway Timeout', 520: 'Unknown',
};
const head = (status, type, ...fields) => [
  `HTTP/1.1 ${status} ${REASONS[status]}`, `Content-Type: ${type}`, ...fields, '', '',
].join('\r\n');
const sized = (status, type, body) =>
  [head(status, type, `Content-Length: ${Buffer.byteLength(body)}`), body];
const chunked = (type) => head(200, type, 'Transfer-Encoding: chunked');
const chunk = (data) => [`${data.length.toString(16)}\r\n`, data, '\r\n'];
const LAST_CHUNK = '0\r\n\r\n';
/* A body that nothing but the end of the connection ends. */
const unframed = (type) => head(200, type, 'Connection: close');

const JSON_TYPE = 'application/json';
const HTML_TYPE = 'text/html; charset=utf-8';
const SSE_TYPE = 'text/event-stream';
const HTML = '<!doctype html><html><body><h1>simulated page</h1></body></html>\n';

const half = (data) => data.subarray(0, data.length / 2);
const jsonBody = ({ plain }) => Buffer.concat(plain.pieces);

export const good = ({ kind, whole }) => kind === 'plain'
  ? sized(200, JSON_TYPE, Buffer.concat(whole.pieces))
  : [chunked(SSE_TYPE), whole.pieces.map(chunk), LAST_CHUNK];

/* The head of a plain answer and half of its body. */
const sizedHalf = (request) => {
  const body = jsonBody(request);
  return [head(200, JSON_TYPE, `Content-Length: ${body.length}`), half(body)];
};
const chunkedHalf = (request) => [chunked(JSON_TYPE), chunk(half(jsonBody(request)))];

/* A stream until after its first words, or with all its events but so many at the end. */
const SOME = 5;
const begun = ({ whole }) => [chunked(SSE_TYPE), whole.pieces.slice(0, SOME).map(chunk)];
const allBut = (count, { whole }) =>
  [chunked(SSE_TYPE), whole.pieces.slice(0, whole.pieces.length - count).map(chunk)];

const errorObject = (code, type = code) =>
  ({ message: `simulated ${code}`, type, param: null, code });
const errorEvent = (code, { dialect }) => dialect === 'completions'
  ? Buffer.from(`data: ${JSON.stringify({ error: errorObject(code) })}\n\n`)
  : named({ type: 'error', error: errorObject(code) });
const DONE = Buffer.from('data: [DONE]\n\n');
const COMMENT = Buffer.from(': here\n\n');

/* ---- rows ---- */

/* Before a request was sent everything may be repeated. */
const UNREACHABLE = [
  { name: 'the connection is refused', isRefusing: true },
  { name: 'FIN in the TLS handshake', handshake: [FIN] },
  { name: 'RST in the TLS handshake', handshake: [RST] },
  { name: 'no TLS', handshake: ['HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n', FIN] },
].map((row) => ({ ...row, repeated: ALL, status: 502, says: /Fireworks/ }));

const UNTRUSTED = {
  name: 'a certificate that nobody trusts',
  isUntrusted: true, repeated: NONE, status: 502, says: /certificate/,
};

/* The request was sent, and its answer is lost. */
const LOST = [
  { name: 'RST before an answer', steps: () => [RST] },
  { name: 'FIN before an answer', steps: () => [FIN] },
  {
    name: 'silence until first_byte_timeout', steps: () => [HANG], status: 504,
    profile: { first_byte_timeout: `${1000 * SLOW}ms` },
  },
  { name: 'FIN within the head', steps: () => ['HTTP/1.1 200 OK\r\nContent-Ty', FIN] },
  { name: 'RST within the head', steps: () => ['HTTP/1.1 200 OK\r\nContent-Ty', PAUSE, RST] },
  { name: 'no HTTP', steps: () => ['SSH-2.0-OpenSSH_9.2\r\n', FIN] },
].concat([
  { name: 'FIN before the end of a Content-Length', steps: (r) => [sizedHalf(r), FIN] },
  { name: 'RST before the end of a Content-Length', steps: (r) => [sizedHalf(r), PAUSE, RST] },
  { name: 'FIN without a last chunk', steps: (r) => [chunkedHalf(r), FIN] },
  { name: 'RST without a last chunk', steps: (r) => [chunkedHalf(r), PAUSE, RST] },
  {
    name: 'a stall within the body until idle_timeout', steps: (r) => [sizedHalf(r), HANG],
    status: 504, profile: { idle_timeout: `${1000 * SLOW}ms` },
  },
].map((row) => ({ ...row, kinds: ['plain'] })))
  .map((row) => ({ repeated: REPLAYABLE, status: 502, says: /Fireworks/, ...row }));

const BODIES = {
  'a JSON error': (status) =>
    [JSON_TYPE, JSON.stringify({ error: errorObject(`answer_${status}`, 'simulated') })],
  'an error string': (status) => [JSON_TYPE, JSON.stringify({ error: `simulated ${status}` })],
  'HTML': () => [HTML_TYPE, HTML],
};
/* 429 and 503 say that nothing was done, so that even guarded requests may go again. */
const STATUSES = [
  ...[429, 503].map((status) => ({ status, repeated: ALL })),
  ...[408, 500, 502, 504, 520].map((status) => ({ status, repeated: REPLAYABLE })),
  ...[400, 401, 404, 409, 422].map((status) => ({ status, repeated: NONE })),
];
const ANSWERED = STATUSES.flatMap(({ status, repeated }) =>
  Object.entries(BODIES).map(([what, body]) => ({
    name: `${status} with ${what}`,
    steps: () => sized(status, ...body(status)),
    repeated, status,
    says: what === 'a JSON error' ? new RegExp(`simulated answer_${status}`) : undefined,
  })));
const ADVISED = [
  { status: 503, repeated: ALL, name: 'asks SDKs to come again', field: 'x-should-retry: true' },
  { status: 503, repeated: NONE, name: 'asks for ten minutes', field: 'Retry-After: 600' },
  { status: 429, repeated: NONE, name: 'asks for ten minutes', field: 'Retry-After: 600' },
].map(({ name, field, ...row }) => ({
  name: `${row.status} that ${name}`,
  steps: () => [head(row.status, JSON_TYPE, field, 'Content-Length: 2'), '{}'],
  ...row,
}));

/* 200, and nothing that was asked for. */
const SOFT = [
  { code: 'SERVICE_UNAVAILABLE', status: 503, repeated: ALL },
  { code: 'too_many_requests', status: 429, repeated: ALL },
  { code: 'internal_trouble', status: 502, repeated: REPLAYABLE },
  { code: 'invalid_request_error', status: 400, repeated: NONE },
];
const NOT_MEANT = [
  ...SOFT.map(({ code, ...row }) => ({
    name: `200 with a JSON error, ${code}`,
    steps: () => sized(200, JSON_TYPE, JSON.stringify({ error: errorObject(code) })),
    says: new RegExp(`simulated ${code}`), ...row,
  })),
  ...SOFT.map(({ code, ...row }) => ({
    name: `an error for a first event, ${code}`, kinds: ['stream'],
    steps: (r) => [chunked(SSE_TYPE), chunk(errorEvent(code, r)), LAST_CHUNK],
    says: new RegExp(`simulated ${code}`), ...row,
  })),
  {
    name: 'a comment and an error for a first event', kinds: ['stream'],
    steps: (r) => [chunked(SSE_TYPE), chunk(COMMENT),
      chunk(errorEvent('SERVICE_UNAVAILABLE', r)), LAST_CHUNK], repeated: ALL, status: 503,
  },
  {
    name: 'HTML with 200', kinds: ['plain'],
    steps: () => sized(200, HTML_TYPE, HTML),
  },
  {
    name: 'FIN within an answer without a length', kinds: ['plain'],
    steps: (r) => [unframed(JSON_TYPE), half(jsonBody(r)), FIN],
  },
  {
    name: 'RST within an answer without a length', kinds: ['plain'],
    steps: (r) => [unframed(JSON_TYPE), half(jsonBody(r)), PAUSE, RST],
  },
  {
    name: 'HTML in place of a stream', kinds: ['stream'],
    steps: () => sized(200, HTML_TYPE, HTML),
  },
  {
    name: '{"detail"} in place of a stream', kinds: ['stream'],
    steps: () => sized(200, JSON_TYPE, '{"detail":"simulated"}'),
  },
  {
    name: 'a whole JSON answer in place of a stream', kinds: ['stream'],
    steps: (r) => sized(200, JSON_TYPE, jsonBody(r)),
  },
  {
    name: 'a stream without an event', kinds: ['stream'],
    steps: () => [chunked(SSE_TYPE), LAST_CHUNK],
  },
  {
    name: 'FIN before the first event', kinds: ['stream'],
    steps: () => [chunked(SSE_TYPE), FIN],
  },
  {
    name: 'RST within the first event', kinds: ['stream'],
    steps: ({ whole }) => [chunked(SSE_TYPE), chunk(half(whole.pieces[0])), PAUSE, RST],
  },
].map((row) => ({ repeated: REPLAYABLE, status: 502, ...row }));

/* Streams that the client already reads. */
const LATE = [
  { name: 'FIN after some events', steps: (r) => [begun(r), FIN] },
  { name: 'RST after some events', steps: (r) => [begun(r), PAUSE, RST] },
  { name: 'a clean end after some events', steps: (r) => [begun(r), LAST_CHUNK] },
  {
    name: 'FIN within an event',
    steps: (r) => [begun(r), chunk(half(r.whole.pieces[SOME])), FIN],
  },
  {
    name: 'RST within an event',
    steps: (r) => [begun(r), chunk(half(r.whole.pieces[SOME])), PAUSE, RST],
  },
  {
    name: 'a clean end within an event',
    steps: (r) => [begun(r), chunk(half(r.whole.pieces[SOME])), LAST_CHUNK],
  },
  {
    name: 'FIN within a chunk',
    steps: (r) => [begun(r), 'ff\r\n', half(r.whole.pieces[SOME]), FIN],
  },
  { name: 'a chunk size that is none', steps: (r) => [begun(r), 'zz\r\nwords\r\n', LAST_CHUNK] },
  {
    name: 'FIN after some events without chunks',
    steps: ({ whole }) => [unframed(SSE_TYPE), whole.pieces.slice(0, SOME), FIN],
  },
  {
    name: 'RST after some events without chunks',
    steps: ({ whole }) => [unframed(SSE_TYPE), whole.pieces.slice(0, SOME), PAUSE, RST],
  },
  { name: 'FIN before the terminal event', steps: (r) => [allBut(1, r), FIN] },
  { name: 'RST before the terminal event', steps: (r) => [allBut(1, r), PAUSE, RST] },
  {
    name: 'a clean end before the terminal event', steps: (r) => [allBut(1, r), LAST_CHUNK],
    dialects: ['messages', 'responses'],
  },
  {
    name: 'a stall until idle_timeout', steps: (r) => [begun(r), HANG],
    profile: { idle_timeout: `${500 * SLOW}ms` },
  },
  ...[
    { name: 'an error event and a clean end', end: [LAST_CHUNK] },
    { name: 'an error event, [DONE] and a clean end', end: [chunk(DONE), LAST_CHUNK] },
    { name: 'an error event and silence', end: [HANG] },
  ].map(({ end, ...row }) => ({
    steps: (r) => [begun(r), chunk(errorEvent('SERVICE_UNAVAILABLE', r)), end],
    says: /simulated SERVICE_UNAVAILABLE/, ...row,
  })),
].map((row) => ({ says: /Fireworks/, ...row, kinds: ['stream'], isLate: true, repeated: NONE }));

/* What only looks like a break. */
const WHOLE = [
  { name: 'the HTTP end is late', steps: (r) => [allBut(0, r), HANG] },
  { name: 'no chunks', steps: ({ whole }) => [unframed(SSE_TYPE), whole.pieces, FIN] },
  { name: 'the last chunk is missing', steps: (r) => [allBut(0, r), FIN] },
  { name: 'RST after the terminal event', steps: (r) => [allBut(0, r), PAUSE, RST] },
  {
    name: 'more after the terminal event',
    steps: (r) => [allBut(0, r), chunk(errorEvent('behind', r)), chunk(DONE), LAST_CHUNK],
  },
  {
    name: 'a clean end after the finish_reason, without [DONE]', dialects: ['completions'],
    steps: (r) => [allBut(1, r), LAST_CHUNK],
  },
  {
    name: 'comments between events',
    steps: ({ whole }) =>
      [chunked(SSE_TYPE), whole.pieces.map((piece) => [chunk(COMMENT), chunk(piece)]), LAST_CHUNK],
  },
].map((row) => ({ ...row, kinds: ['stream'], isWhole: true, repeated: NONE }));

export const BREAKS = [
  ...UNREACHABLE, UNTRUSTED, ...LOST, ...ANSWERED, ...ADVISED, ...NOT_MEANT, ...LATE, ...WHOLE,
].map((row) => ({ kinds: ['plain', 'stream'], ...row }));
