// The real daemon in a folder of its own, by `foredial run` or `foredial demo`.
import { createSocket } from 'node:dgram';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FOREDIAL, foredial, Process } from './process.js';

const RTP_PORTS = 40;
const RTP_FIRST = 20_000;
const RTP_LAST = 32_000;

const SCRIPT = `
Good day, am I speaking with {{ name }}? It is about your {{ product }}.

Do you have a minute?
`;

class Daemon {
  constructor(folder, process, url) {
    Object.assign(this, { folder, process, url });
  }

  get log() {
    return this.process.log.join('\n');
  }

  /** Ends it; how: 0 when it ended in order. */
  async stop() {
    const how = await this.process.end('SIGINT');
    await rm(this.folder, { recursive: true, force: true });
    return how;
  }
}

/** `agents`: `{ id, name, leads: [{ name, phone, product }] }`, each with a campaign and a list of the same name. */
export async function run({ far_end, agents }) {
  const folder = await mkdtemp(join(tmpdir(), 'foredial-daemon-'));
  const config = join(folder, 'foredial.toml');
  await writeFile(config, toml({ folder, far_end, agents, rtp_first: await free_rtp_ports() }));
  for (const { id, leads } of agents) {
    const file = join(folder, `${id}.csv`);
    await writeFile(file, csv(leads));
    await foredial('import', file, '--list', id, '--campaign', id, '--config', config);
  }
  const process = new Process(FOREDIAL, ['run', '--config', config]);
  const daemon = new Daemon(folder, process, null);
  daemon.sign_in_link = async (agent) => (await foredial('ctl', '--config', config, 'sign-in', agent)).trim();
  await until_up(daemon, agents[0].id);
  daemon.url = new URL(await daemon.sign_in_link(agents[0].id)).origin;
  return daemon;
}

/** `foredial demo` as a newcomer starts it; `links` by the agent's name. */
export async function demo() {
  const folder = await mkdtemp(join(tmpdir(), 'foredial-demo-'));
  const process = new Process(FOREDIAL, ['demo', '--dir', folder, '--sip', '127.0.0.1:0', '--http', '127.0.0.1:0']);
  const url = await process.line((text) => /^Foredial demo: (\S+)/.exec(text)?.[1], 60_000);
  await process.line((text) => /Stop with Ctrl-C/.test(text));
  const found = process.lines.map((text) => /^ {2}(.+?) +(http\S+\/signin\?token=\S+)$/.exec(text)).filter(Boolean);
  const daemon = new Daemon(folder, process, url);
  return Object.assign(daemon, { links: Object.fromEntries(found.map(([, name, link]) => [name, link])) });
}

/** Until it answers `ctl`, or has ended. */
async function until_up(daemon, agent) {
  const end = Date.now() + 20_000;
  let over = null;
  void daemon.process.ended.then((how) => (over = how));
  for (;;) {
    const failure = await daemon.sign_in_link(agent).then(
      () => null,
      (error) => error,
    );
    if (!failure) return;
    if (over !== null || Date.now() > end) throw new Error(`the daemon is not up (${over}): ${failure}\n${daemon.log}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

function toml({ folder, far_end, agents, rtp_first }) {
  const text = JSON.stringify; // a JSON string is a TOML string
  const campaign = ({ id }) => `
[[campaign]]
id = ${text(id)}
lists = [${text(id)}]
trunks = ["carrier"]
time_zones = ["Asia/Shanghai"]
script_title = "Renewal"
script = ${text(SCRIPT)}
hours = "00:00-24:00"
mask_numbers = true
wrap_up_s = 120
wrap_up_unanswered_s = 120
[[campaign.fields]]
key = "product"
label = { en = "Product", zh = "产品" }
`;
  const agent = ({ id, name }) => `
[[agent]]
id = ${text(id)}
name = ${text(name)}
campaigns = [${text(id)}]
`;
  return `
[sip]
listen = "127.0.0.1:0"
[http]
listen = "127.0.0.1:0"
tls_listen = ""
[media]
rtp_ports = "${rtp_first}-${rtp_first + RTP_PORTS - 1}"
workers = 1
[state]
folder = ${text(join(folder, 'state'))}
[recordings]
folder = ${text(join(folder, 'recordings'))}
[crm]
url = ${text(far_end.crm)}
timeout_ms = 5000
allow_private = ["127.0.0.1"]
[[crm.sections]]
title = { en = "Customer", zh = "客户" }
[[crm.sections.fields]]
pointer = "/tier"
label = { en = "Tier", zh = "等级" }
[[trunk]]
name = "carrier"
servers = [${text(far_end.sip)}]
caller_id = "+861066666666"
options_every_s = 0
${agents.map(agent).join('')}${agents.map(campaign).join('')}`;
}

function csv(leads) {
  const rows = leads.map(({ external_id, name, phone, product }) => `${external_id},${name},${phone},en,Asia/Shanghai,${product}`);
  return ['external_id,name,phone,language,time_zone,product', ...rows, ''].join('\n');
}

/** The first of a run of UDP ports that nobody uses at this moment. */
async function free_rtp_ports() {
  for (let tries = 0; tries < 50; tries++) {
    const first = RTP_FIRST + 2 * Math.floor((Math.random() * (RTP_LAST - RTP_FIRST)) / 2);
    const ports = Array.from({ length: RTP_PORTS }, (_, at) => first + at);
    if ((await Promise.all(ports.map(is_free))).every(Boolean)) return first;
  }
  throw new Error(`no ${RTP_PORTS} free UDP ports in a row between ${RTP_FIRST} and ${RTP_LAST}`);
}

function is_free(port) {
  return new Promise((done) => {
    const socket = createSocket('udp4');
    socket.once('error', () => socket.close(() => done(false)));
    socket.bind(port, '127.0.0.1', () => socket.close(() => done(true)));
  });
}
