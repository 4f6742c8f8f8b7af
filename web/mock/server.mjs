// The page's server without the switch: `npm run mock` and open the address it prints (any name, password "demo").
// Same paths, cookies and headers as the daemon, so that what works here under its Content-Security-Policy works there.
import { createServer } from 'node:http';
import { readFile, stat } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { WebSocketServer } from 'ws';
import { MockDesk } from './desk.mjs';
import { MockSeat } from './seat.mjs';
import { tone_wav } from './tone.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const DIST = process.env.FOREDIAL_WEB_DIST ?? join(HERE, '../dist');
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.json': 'application/json' };
const HEADERS = {
  'content-security-policy': "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
};
const BODY_MOST = 64 * 1024;

async function body_of(request) {
  let text = '';
  for await (const chunk of request) {
    text += chunk;
    if (text.length > BODY_MOST) throw new Error('body too large');
  }
  return text === '' ? {} : JSON.parse(text);
}

/** Starts it; resolves with what a test needs: the address, the desk, the seat, `close`. */
export async function start({ port = 0, auto = true, agent, seat = 'real' } = {}) {
  const desks = new Set();
  const mock = { signed_in: false, password: 'demo', refuse_desk: false };
  const publish = () => desks.forEach((socket) => socket.send(mock.desk.message()));
  mock.desk = new MockDesk({ changed: publish, agent, auto });
  if (seat === 'pretended') mock.desk.seat.status = 'live';
  mock.seat = new MockSeat((status) => {
    if (seat === 'pretended') return;
    mock.desk.seat.status = status;
    mock.desk.publish();
  });
  mock.desk_sockets = desks;

  const authorised = (request) => mock.signed_in && /(^|;\s*)session=mock/.test(request.headers.cookie ?? '');

  async function api(request, url) {
    if (url.pathname === '/api/v1/session') {
      if (request.method === 'GET') return authorised(request) ? [200, { agent: mock.desk.agent.id }] : [401, { title: 'Sign in', status: 401 }];
      if (request.method === 'DELETE') {
        mock.signed_in = false;
        return [204, null, { 'set-cookie': 'session=; Path=/; Max-Age=0' }];
      }
      const { password } = await body_of(request);
      if (password !== mock.password) return [401, { title: 'Wrong', status: 401 }];
      mock.signed_in = true;
      return [204, null, { 'set-cookie': 'session=mock; Path=/; HttpOnly; SameSite=Strict' }];
    }
    if (!authorised(request)) return [401, { title: 'Sign in', status: 401 }];
    if (url.pathname === '/api/v1/calls') return [200, { items: mock.desk.calls, next: null }];
    return [404, { title: 'Not found', status: 404 }];
  }

  async function file(url) {
    if (url.pathname.startsWith('/mock/')) return join(HERE, url.pathname.slice('/mock/'.length) + (extname(url.pathname) ? '' : '.html'));
    const path = normalize(join(DIST, url.pathname));
    const there = path.startsWith(DIST) && (await stat(path).catch(() => null))?.isFile();
    return there ? path : join(DIST, 'index.html');
  }

  const server = createServer(async (request, response) => {
    try {
      const url = new URL(request.url, 'http://mock');
      if (url.pathname.startsWith('/api/v1/recordings/')) return send_wav(request, response);
      if (url.pathname.startsWith('/api/')) {
        const [status, value, headers = {}] = await api(request, url);
        response.writeHead(status, { 'content-type': status >= 400 ? 'application/problem+json' : 'application/json', ...headers });
        return response.end(value === null ? undefined : JSON.stringify(value));
      }
      const path = await file(url);
      const bytes = await readFile(path);
      response.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'application/octet-stream', ...HEADERS });
      response.end(bytes);
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  });

  const wav = tone_wav({ hz: 440, seconds: 3 });
  function send_wav(request, response) {
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const from = range ? Number(range[1]) : 0;
    const to = range?.[2] ? Math.min(Number(range[2]), wav.length - 1) : wav.length - 1;
    response.writeHead(range ? 206 : 200, {
      'content-type': 'audio/wav', 'accept-ranges': 'bytes', 'content-length': to - from + 1,
      ...(range ? { 'content-range': `bytes ${from}-${to}/${wav.length}` } : {}),
    });
    response.end(wav.subarray(from, to + 1));
  }

  const sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => (offered.has('sip') ? 'sip' : false) });
  server.on('upgrade', (request, socket, head) => {
    const { pathname } = new URL(request.url, 'http://mock');
    const open = (then) => sockets.handleUpgrade(request, socket, head, then);
    if (pathname === '/mock/answer') return open((ws) => mock.seat.attach(ws));
    if (!authorised(request) || (pathname === '/api/v1/desk' && mock.refuse_desk)) {
      socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n');
      return;
    }
    if (pathname === '/sip') return open((ws) => mock.seat.connect(ws));
    if (pathname === '/api/v1/desk') return open(serve_desk);
    socket.destroy();
  });

  function serve_desk(ws) {
    desks.add(ws);
    ws.on('close', () => desks.delete(ws));
    if (mock.desk.state.kind === 'logged_out') mock.desk.rest('not_ready', 'signed_in');
    ws.send(mock.desk.message());
    ws.on('message', (data) => {
      const { id, command } = JSON.parse(String(data));
      mock.commands = [...(mock.commands ?? []), command];
      if (mock.deaf) return;
      const problem = mock.desk.command(command);
      ws.send(JSON.stringify(problem ? { type: 'reply', id, ok: false, problem } : { type: 'reply', id, ok: true }));
    });
  }

  await new Promise((listening) => server.listen(port, '127.0.0.1', listening));
  mock.url = `http://127.0.0.1:${server.address().port}`;
  mock.drop_sockets = () => sockets.clients.forEach((ws) => ws.terminate());
  mock.close = () => {
    mock.desk.stop_timers();
    mock.drop_sockets();
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  };
  return mock;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { url } = await start({ port: Number(process.env.PORT ?? 8900), seat: 'pretended' });
  console.log(`${url}  (any name, password "demo")`);
}
