/* An upstream of which every byte is scripted, over TLS.
 *
 * The answer to a request is a list of steps: bytes to send, and functions of the connection, as
 * FIN, RST, PAUSE and HANG are. A list that ends without one of the first two leaves the connection
 * open for the next request. */
import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';

import { DIALECTS } from './answers.mjs';

export const SLOW = Number(process.env.ANDIRON_TEST_SLOW || 1);

export const FIN = ({ socket }) => { socket.end(); };           /* after a close_notify */
export const RST = ({ wire }) => { wire.resetAndDestroy(); };
/* What was sent before it has reached andiron: an RST would overtake it. */
export const PAUSE = () => sleep(150 * SLOW);
export const HANG = ({ closed }) => closed;

/* identity: of makeCertificate(). script(request): the steps that answer it; for the request see
 * describe(). handshake: the steps in place of TLS and all else, until heal() is called.
 * isRefusing: until then nobody listens at all. */
export async function startUpstream(identity, { script, handshake, isRefusing = false }) {
  const requests = [];
  const sockets = new Set();
  let isIll = Boolean(handshake);
  const secureContext = tls.createSecureContext(identity);

  const server = net.createServer((wire) => {
    sockets.add(wire);
    const closed = new Promise((resolve) => wire.once('close', resolve))
      .then(() => sockets.delete(wire));  /* events.once() would reject at an error */
    /* That andiron hangs up or dislikes what it gets is no news here. */
    wire.on('error', () => {});
    if (isIll) {
      run(handshake, { wire, socket: wire, closed });
      return;
    }
    const socket = new tls.TLSSocket(wire, { isServer: true, secureContext });
    socket.on('error', () => wire.destroy());
    serve({ wire, socket, closed }, requests, script);
  });

  const port = isRefusing ? await vacantPort() : await listen(server, 0);
  return {
    url: `https://127.0.0.1:${port}`,
    caFile: identity.caFile,
    requests,                           /* in the order of their arrival */
    async heal() {
      isIll = false;
      if (isRefusing)
        await listen(server, port);
    },
    async close() {
      for (const socket of sockets)
        socket.destroy();
      if (server.listening)
        await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function listen(server, port) {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

/* Below the ports that a kernel gives away by itself, so that it stays vacant. */
async function vacantPort() {
  for (;;) {
    const server = net.createServer();
    const port = 20000 + Math.floor(Math.random() * 10000);
    try {
      await listen(server, port);
    } catch {
      continue;
    }
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

async function serve(connection, requests, script) {
  let input = Buffer.alloc(0);
  let answering = Promise.resolve();
  connection.socket.on('data', (data) => {
    input = Buffer.concat([input, data]);
    for (let found; (found = takeRequest(input)); input = input.subarray(found.length)) {
      const request = describe(found, requests);
      answering = answering.then(() => run(script(request), connection));
    }
  });
}

/* The first request of the input, if it is whole. Andiron sends these bodies with a length. */
function takeRequest(input) {
  const end = input.indexOf('\r\n\r\n');
  if (end < 0)
    return null;
  const head = input.toString('latin1', 0, end);
  const bodyLength = Number(/^content-length: *(\d+)$/im.exec(head)[1]);
  const length = end + 4 + bodyLength;
  return length <= input.length && {
    length,
    path: head.split(' ')[1],
    body: JSON.parse(input.toString('utf8', end + 4, length)),
  };
}

function describe({ path, body }, requests) {
  const { model, stream } = body;
  const kind = stream ? 'stream' : 'plain';
  const request = {
    path, model, kind,
    dialect: path.split('/').at(-1),    /* completions, messages, responses */
    number: requests.filter((other) => other.model === model).length + 1,   /* of its model's */
    whole: DIALECTS[path][kind](model, model),                              /* the good answer */
    plain: DIALECTS[path].plain(model, model),                              /* as no stream */
  };
  requests.push(request);
  return request;
}

async function run(steps, connection) {
  for (const step of steps.flat(Infinity)) {
    if (connection.wire.destroyed)
      return;
    await (typeof step === 'function' ? step(connection) : connection.socket.write(step));
  }
}
