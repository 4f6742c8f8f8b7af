// The far end of the page's phone: just enough SIP to take a seat. Node has no WebRTC, so the media is a browser page
// that tests open at /mock/answerer; it answers the offer and plays a tone. Without one, INVITEs get 480.
import { randomUUID } from 'node:crypto';

const field = (message, name) => message.match(new RegExp(`^${name}\\s*:\\s*(.*)$`, 'im'))?.[1]?.trim() ?? '';

function reply(request, status, reason, { tag, body = '', extra = [] } = {}) {
  const to = field(request, 'To');
  const lines = [
    `SIP/2.0 ${status} ${reason}`,
    ...[...request.matchAll(/^Via\s*:.*$/gim)].map(([line]) => line.trim()),
    `From: ${field(request, 'From')}`,
    `To: ${/;tag=/.test(to) || !tag ? to : `${to};tag=${tag}`}`,
    `Call-ID: ${field(request, 'Call-ID')}`,
    `CSeq: ${field(request, 'CSeq')}`,
    ...extra,
    ...(body ? ['Content-Type: application/sdp'] : []),
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}

export class MockSeat {
  constructor(changed) {
    this.changed = changed;
    this.answerer = null;
    this.questions = new Map();
    this.session = null;
    this.invites = [];
  }

  attach(socket) {
    this.answerer = socket;
    socket.on('message', (data) => {
      const { id, sdp } = JSON.parse(String(data));
      this.questions.get(id)?.(sdp);
      this.questions.delete(id);
    });
    socket.on('close', () => {
      if (this.answerer === socket) this.answerer = null;
    });
  }

  connect(socket) {
    socket.on('message', (data) => void this.receive(socket, String(data)));
    socket.on('close', () => {
      if (this.session?.socket !== socket) return;
      this.session = null;
      this.changed('lost');
    });
  }

  async receive(socket, message) {
    const method = message.split(' ', 1)[0];
    if (method === 'INVITE') return this.invited(socket, message);
    if (method === 'ACK') return this.session && this.changed('live');
    if (method === 'BYE') {
      socket.send(reply(message, 200, 'OK'));
      this.session = null;
      return this.changed('absent');
    }
    if (/^[A-Z]+$/.test(method)) socket.send(reply(message, 200, 'OK'));
  }

  async invited(socket, message) {
    const tag = randomUUID().slice(0, 8);
    this.invites.push({ at_ms: Date.now(), instance: field(message, 'X-Foredial-Instance') });
    socket.send(reply(message, 100, 'Trying'));
    if (!this.answerer) {
      socket.send(reply(message, 480, 'Temporarily Unavailable', { tag }));
      return;
    }
    this.changed('connecting');
    const id = randomUUID();
    const sdp = await new Promise((answer) => {
      this.questions.set(id, answer);
      this.answerer.send(JSON.stringify({ id, sdp: message.slice(message.indexOf('\r\n\r\n') + 4) }));
    });
    this.session = { socket, request: message, tag };
    socket.send(reply(message, 200, 'OK', { tag, body: sdp, extra: ['Contact: <sip:seat@foredial.invalid;transport=ws>'] }));
  }

  /** The switch hangs up on the seat. */
  bye(reason = '') {
    if (!this.session) return;
    const { socket, request, tag } = this.session;
    const target = field(request, 'Contact').match(/<([^>]+)>/)[1];
    const lines = [
      `BYE ${target} SIP/2.0`, `Via: SIP/2.0/WS foredial.invalid;branch=z9hG4bK${randomUUID()}`, 'Max-Forwards: 70',
      `From: ${field(request, 'To')};tag=${tag}`, `To: ${field(request, 'From')}`, `Call-ID: ${field(request, 'Call-ID')}`, 'CSeq: 2 BYE',
      ...(reason ? [`Reason: ${reason}`] : []), 'Content-Length: 0',
    ];
    this.session = null;
    socket.send(`${lines.join('\r\n')}\r\n\r\n`);
    this.changed('absent');
  }
}
