// The page against the real daemon, in a real browser: foredial run with a carrier whose customers speak a tone, while
// the agent's microphone gives another. Levels are measured at every ear: the page, the carrier, the recording.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { launch, profile } from './support/browser.js';
import { demo, run } from './support/daemon.js';
import { DeskPage } from './support/desk.js';
import { FarEnd } from './support/far_end.js';
import { heard, until_sound } from './support/sound.js';
import { Wave } from './support/wave.js';

const CUSTOMER_HZ = 440;
const AGENT_HZ = 1_000;
const BOTH_HZ = [CUSTOMER_HZ, AGENT_HZ];
/** Both tones are sent at −9 … −15 dB; a level above this is one of them, below it is not. */
const AUDIBLE_DB = -30;
const SILENT_DB = -60;
/** How far below its own channel a voice must be in the other one. */
const APART_DB = 30;
/** Sound on its way, and the jitter buffer that smooths it. */
const SETTLE_MS = 500;

/** Each has a campaign, a list and leads of her own, so that no test depends on another. */
const AGENTS = {
  first: [
    { external_id: 'L0001', name: 'Grace Lin', phone: '+8613800138001', product: 'water filter' },
    { external_id: 'L0002', name: 'Henry Tao', phone: '+8613800138002', product: 'dishwasher' },
  ],
  muting: [{ external_id: 'L0003', name: 'Ivy Chen', phone: '+8613800138003', product: 'kettle' }],
  holding: [{ external_id: 'L0004', name: 'Jack Wu', phone: '+8613800138004', product: 'heater' }],
  louder: [{ external_id: 'L0005', name: 'Kate Sun', phone: '+8613800138005', product: 'lamp' }],
  reloading: [{ external_id: 'L0006', name: 'Leo Ma', phone: '+8613800138006', product: 'stove' }],
  early: [{ external_id: 'L0007', name: 'Mia He', phone: '+8613800138007', product: 'fridge' }],
  leaving: [{ external_id: 'L0008', name: 'Ned Guo', phone: '+8613800138008', product: 'oven' }],
  hasty: [{ external_id: 'L0009', name: 'Olga Shi', phone: '+8613800138009', product: 'fan' }],
  left: [{ external_id: 'L0010', name: 'Pete Yao', phone: '+8613800138010', product: 'iron' }],
};

let browser;
let context;
let complaints;
before(async () => (browser = await launch({ microphone_hz: AGENT_HZ })));
after(() => browser?.close());
beforeEach(async () => {
  ({ context, complaints } = await profile(browser));
  await context.addInitScript(() => location.protocol === 'http:' && localStorage.setItem('foredial.rawaudio', '1'));
});
afterEach(async () => {
  const seen = [...complaints];
  await context.close();
  assert.deepEqual(seen, []); // errors of the page, and whatever the daemon's Content-Security-Policy refused
});

const number_of = (agent, at = 0) => AGENTS[agent][at].phone.slice(1);
const apart = (level, loud_hz, quiet_hz) => level.tone_db[loud_hz] - level.tone_db[quiet_hz];
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** A page signed in by the link, its seat taken. */
async function sit_down(link) {
  const page = await context.newPage();
  await page.goto(link);
  const desk = new DeskPage(page);
  await desk.at('desk').waitFor();
  await desk.seat('live');
  return desk;
}

async function armed(desk, action) {
  await desk.page.locator(`[data-testid=primary][data-action=${action}][aria-disabled=false]`).waitFor();
}

async function hang_up(desk) {
  await armed(desk, 'hang_up');
  await desk.primary('hang_up');
  await desk.state('wrap_up');
}

/** The recording of the call on the desk, fetched as the page would. */
async function recording(desk) {
  await desk.page.waitForFunction(() => window.foredial.desk.call?.recording_ready);
  const bytes = await desk.page.evaluate(async () => {
    const answer = await fetch(`/api/v1/recordings/${window.foredial.desk.call.id}`);
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
    return [...new Uint8Array(await answer.arrayBuffer())];
  });
  return new Wave(Uint8Array.from(bytes));
}

describe('foredial run', () => {
  let far_end;
  let daemon;

  before(async () => {
    far_end = await FarEnd.start({ voice_hz: CUSTOMER_HZ, listen_hz: BOTH_HZ, answer_after_ms: 500, crm_delay_ms: 2_000 });
    const agents = Object.entries(AGENTS).map(([id, leads]) => ({ id, name: id, leads }));
    daemon = await run({ far_end, agents });
  });
  after(async () => {
    const how = await daemon?.stop();
    await far_end?.stop();
    assert.equal(how, 0, daemon?.log); // it ended in order
  });

  async function preview(agent) {
    const desk = await sit_down(await daemon.sign_in_link(agent));
    await desk.primary('ready');
    await desk.state('previewing');
    await armed(desk, 'dial');
    return desk;
  }

  /** In a call, heard at both ends. */
  async function talk(agent) {
    const desk = await preview(agent);
    await desk.primary('dial');
    await desk.state('talking');
    await both_hear(desk, agent);
    return desk;
  }

  async function both_hear(desk, agent) {
    const here = await until_sound(() => heard(desk.page, BOTH_HZ), (level) => level.tone_db[CUSTOMER_HZ] > AUDIBLE_DB);
    const there = await until_sound(() => far_end.hears(number_of(agent)), (level) => level.tone_db[AGENT_HZ] > AUDIBLE_DB);
    return { here, there };
  }

  /** Runs `during` and says when it was, in ms of the recording. */
  async function span(desk, during) {
    const answered_ms = await desk.page.evaluate(() => window.foredial.desk.call.answered_ms);
    await pause(SETTLE_MS);
    const from_ms = Date.now() - answered_ms;
    await during();
    return [from_ms, Date.now() - answered_ms];
  }

  test('the first call: link, card, call, both voices, outcome, next card, recording', async () => {
    const link = await daemon.sign_in_link('first');
    const desk = await sit_down(link);
    const again = await context.request.get(link, { maxRedirects: 0 });
    assert.equal(again.status(), 410, 'a link works once');

    await desk.primary('ready');
    await desk.state('previewing');
    assert.equal(await desk.at('crm').getAttribute('data-status'), 'loading'); // the card does not wait for the CRM
    assert.equal(await desk.at('card-name').textContent(), 'Grace Lin');
    const number = await desk.at('phones').locator('b').textContent();
    assert.match(number, /^\+86 138 \*{4} 8001$/);
    const shanghai = new Intl.DateTimeFormat('en-GB', { timeZone: 'Asia/Shanghai', hour: '2-digit', minute: '2-digit' });
    const around = [-1, 0, 1].map((minutes) => shanghai.format(Date.now() + minutes * 60_000));
    const there = await desk.at('local-time').textContent();
    assert.ok(around.some((time) => there.includes(time)), `${there} is not ${around[1]}`);
    assert.match(there, /Shanghai/);
    assert.match(await desk.at('script').textContent(), /speaking with Grace Lin\? It is about your water filter\./);
    assert.match(await desk.at('field-product').textContent(), /water filter/);
    await desk.page.locator('[data-testid=crm][data-status=ready]').waitFor();
    assert.match(await desk.at('crm').textContent(), /Tier/);
    const whole = JSON.stringify(await desk.desk());
    assert.ok(!whole.includes('13800138001'), 'the number never reaches the page');

    await armed(desk, 'dial');
    await desk.primary('dial');
    await desk.page.locator('[data-testid=call-panel][data-state=ringing]').waitFor();
    await desk.state('talking');
    const { here, there: far } = await both_hear(desk, 'first');
    console.log(`page hears ${JSON.stringify(here.tone_db)}, carrier hears ${JSON.stringify(far.tone_db)}`);
    assert.ok(apart(here, CUSTOMER_HZ, AGENT_HZ) > APART_DB);
    assert.ok(apart(far, AGENT_HZ, CUSTOMER_HZ) > APART_DB);
    const talked = await span(desk, () => pause(1_500));

    await hang_up(desk);
    const journal = await far_end.until_journal(number_of('first'), 'ended CallerBye');
    assert.equal(journal.filter((what) => what === '< INVITE').length, 1);

    const wave = await recording(desk);
    for (const [channel, own_hz, other_hz] of [['agent', AGENT_HZ, CUSTOMER_HZ], ['customer', CUSTOMER_HZ, AGENT_HZ]]) {
      const level = wave.level(channel, BOTH_HZ, ...talked);
      console.log(`recording, ${channel}: ${JSON.stringify(level.tone_db)}`);
      assert.ok(level.tone_db[own_hz] > AUDIBLE_DB, channel);
      assert.ok(apart(level, own_hz, other_hz) > APART_DB, channel);
    }

    await desk.at('disposition-interested').click();
    await desk.at('notes').fill('Send the offer.');
    await armed(desk, 'save');
    await desk.primary('save');
    await desk.page.getByTestId('card-name').filter({ hasText: 'Henry Tao' }).waitFor();

    await desk.at('recent-open').click();
    const row = desk.at('recent-row').first();
    await row.filter({ hasText: 'Grace Lin' }).waitFor();
    assert.match(await row.textContent(), /Interested|interested/);
    const audio = row.getByTestId('recent-audio');
    await audio.evaluate((element) => element.play());
    await desk.page.waitForFunction(() => document.querySelector('[data-testid=recent-audio]').currentTime > 0.3);
    assert.ok((await audio.evaluate((element) => element.duration)) * 1_000 >= talked[1] - talked[0]);
  });

  test('mute silences the agent and nobody else', async () => {
    const desk = await talk('muting');
    await desk.at('mute').click();
    await desk.page.locator('[data-testid=mute][aria-pressed=true]').waitFor();
    await until_sound(() => far_end.hears(number_of('muting'), 400), (level) => level.all_db < SILENT_DB);
    const muted = await span(desk, async () => {
      const [there, here] = await Promise.all([far_end.hears(number_of('muting'), 1_000), heard(desk.page, BOTH_HZ)]);
      console.log(`muted: carrier hears ${there.all_db.toFixed(1)} dB, page hears ${here.tone_db[CUSTOMER_HZ].toFixed(1)} dB`);
      assert.ok(there.all_db < SILENT_DB);
      assert.ok(here.tone_db[CUSTOMER_HZ] > AUDIBLE_DB);
    });
    await desk.at('mute').click();
    await desk.page.locator('[data-testid=mute][aria-pressed=false]').waitFor();
    await both_hear(desk, 'muting');
    const open = await span(desk, () => pause(500));
    await hang_up(desk);
    const wave = await recording(desk);
    assert.ok(wave.level('agent', BOTH_HZ, ...muted).all_db < SILENT_DB);
    assert.ok(wave.level('customer', BOTH_HZ, ...muted).tone_db[CUSTOMER_HZ] > AUDIBLE_DB);
    assert.ok(wave.level('agent', BOTH_HZ, ...open).tone_db[AGENT_HZ] > AUDIBLE_DB);
  });

  test('hold gives the customer music and the agent silence', async () => {
    const desk = await talk('holding');
    await desk.at('hold').click();
    await desk.page.locator('[data-testid=hold][aria-pressed=true]').waitFor();
    await until_sound(() => heard(desk.page, BOTH_HZ), (level) => level.all_db < SILENT_DB);
    await until_sound(() => far_end.hears(number_of('holding')), (level) => level.tone_db[AGENT_HZ] < AUDIBLE_DB - 10);
    const [there, here] = await Promise.all([far_end.hears(number_of('holding'), 2_000), heard(desk.page, BOTH_HZ)]);
    console.log(`held: carrier hears ${JSON.stringify(there)}, page hears ${here.all_db.toFixed(1)} dB`);
    assert.ok(there.all_db > -45, 'music');
    // A tone would be all there is; music may touch its frequency in passing.
    for (const hz of BOTH_HZ) assert.ok(there.tone_db[hz] < there.all_db, `${hz} Hz is not the music`);
    assert.ok(there.tone_db[AGENT_HZ] < AUDIBLE_DB - 10);
    assert.ok(here.all_db < SILENT_DB);
    await desk.at('hold').click();
    await desk.page.locator('[data-testid=hold][aria-pressed=false]').waitFor();
    await both_hear(desk, 'holding');
    assert.equal(await far_end.count(number_of('holding'), '< BYE'), 0);
    await hang_up(desk);
  });

  test('volume: −12 dB is −12 dB in the page, and nothing at all in the recording', async () => {
    const desk = await talk('louder');
    const at_volume = async (db) => {
      await desk.at('volume').fill(String(db));
      await desk.page.waitForFunction((db) => window.foredial.desk.call.volume_db === db, db);
      let level;
      const when = await span(desk, async () => (level = (await heard(desk.page, BOTH_HZ)).tone_db[CUSTOMER_HZ]));
      return { level, when };
    };
    const before = await at_volume(0);
    const quieter = await at_volume(-12);
    const after = await at_volume(0);
    const changes_db = [quieter.level - before.level, quieter.level - after.level];
    console.log(`volume −12 dB: ${changes_db.map((db) => db.toFixed(2)).join(' and ')} dB`);
    for (const change_db of changes_db) assert.ok(Math.abs(change_db + 12) < 1, `${change_db} dB`);
    await hang_up(desk);
    const wave = await recording(desk);
    const [loud, quiet] = [before, quieter].map(({ when }) => wave.level('customer', BOTH_HZ, ...when).tone_db[CUSTOMER_HZ]);
    assert.ok(Math.abs(loud - quiet) < 0.5, `recorded ${loud} and ${quiet} dB`);
  });

  test('the customer hangs up: wrap-up, one result', async () => {
    const desk = await talk('left');
    const { calls } = await far_end.calls(number_of('left'));
    await far_end.hang_up(calls[0].call_id);
    await desk.state('wrap_up');
    assert.equal((await desk.desk()).call.result, 'connected');
    await far_end.until_journal(number_of('left'), '< 200 BYE');
    await until_sound(() => heard(desk.page, BOTH_HZ), (level) => level.all_db < SILENT_DB);
  });

  test('a reload in mid-call: the customer stays, both voices are back within 2 s', async () => {
    const agent = 'reloading';
    await context.addInitScript(note_the_first_tone, { hz: CUSTOMER_HZ, audible_db: AUDIBLE_DB });
    const desk = await talk(agent);
    await desk.at('notes').fill('half a thought');
    desk.page.on('dialog', (dialog) => void dialog.accept());
    const { calls: [call], now_ms } = await far_end.calls(number_of(agent));
    const clock_ms = Date.now() - now_ms; // between the carrier's clock and ours
    const reload_ms = Date.now();
    await desk.page.reload({ waitUntil: 'commit' });
    const heard_ms = await (await desk.page.waitForFunction(() => window.first_tone_ms)).jsonValue();
    const here_ms = heard_ms - reload_ms;

    // At the carrier: music while the browser was away, then the microphone for good.
    const spoken = ({ tones }) => 20 * Math.log10(tones[1] + 1e-6) > AUDIBLE_DB;
    const back_ms = await far_end.until(
      number_of(agent),
      ([{ heard: { levels } }]) => {
        const since = levels.filter(({ at_ms }) => at_ms + clock_ms >= reload_ms);
        const gone = since.findLastIndex((level) => !spoken(level));
        return gone >= 0 && since.length - gone > 10 && since[gone + 1].at_ms + clock_ms;
      },
      'the agent’s voice gone and back for a second',
    );
    const there_ms = back_ms - reload_ms;
    console.log(`after a reload the page hears the customer in ${here_ms} ms, the customer the agent in ${there_ms} ms`);
    assert.ok(here_ms < 2_000, `${here_ms} ms`);
    assert.ok(there_ms < 2_000, `${there_ms} ms`);

    const after = await far_end.calls(number_of(agent));
    assert.deepEqual(after.calls.map(({ call_id, state }) => ({ call_id, state })), [{ call_id: call.call_id, state: 'answered' }]);
    assert.equal(await far_end.count(number_of(agent), '< INVITE'), 1);
    assert.equal(await far_end.count(number_of(agent), '< BYE'), 0);
    assert.ok(after.calls[0].heard.longest_gap_ms < 500, 'the customer heard something all the time');
    await desk.state('talking');
    assert.equal(await desk.at('notes').inputValue(), 'half a thought');
    await hang_up(desk);
    await far_end.until_journal(number_of(agent), 'ended CallerBye');
  });

  test('a reload while it rings: the call goes on and is answered into the new page', async () => {
    const agent = 'early';
    const number = number_of(agent);
    await far_end.answer(number, 4_000);
    const desk = await preview(agent);
    desk.page.on('dialog', (dialog) => void dialog.accept());
    await desk.primary('dial');
    await desk.page.locator('[data-testid=call-panel][data-state=ringing]').waitFor();
    await desk.page.reload();
    await desk.page.locator('[data-testid=call-panel][data-state=ringing]').waitFor();
    await desk.seat('live');
    assert.equal(await far_end.count(number, '> 200 INVITE'), 0, 'it still rings');
    await desk.state('talking');
    await both_hear(desk, agent);
    const journal = await far_end.journal(number);
    assert.equal(journal.filter((what) => what === '< INVITE').length, 1);
    assert.ok(!journal.includes('< CANCEL') && !journal.includes('< BYE'), journal.join(', '));
    await hang_up(desk);
  });

  test('the browser closed while it rings: CANCEL, and the result says who gave up', async () => {
    const agent = 'leaving';
    const number = number_of(agent);
    await far_end.ring_out(number);
    const desk = await preview(agent);
    await desk.primary('dial');
    await desk.page.locator('[data-testid=call-panel][data-state=ringing]').waitFor();
    await desk.page.close({ runBeforeUnload: false });
    const journal = await far_end.until_journal(number, 'ended Cancelled', 15_000);
    assert.equal(journal.filter((what) => what === '< CANCEL').length, 1);
    assert.equal(journal.filter((what) => what === '< INVITE').length, 1);
    const back = new DeskPage(await context.newPage());
    await back.page.goto(daemon.url);
    await back.state('wrap_up');
    assert.equal((await back.desk()).call.result, 'agent_cancelled');
    await back.at('recent-open').click();
    await back.at('recent-row').first().locator('[data-result=agent_cancelled]').waitFor();
  });

  test('a double-clicked Call sends one INVITE, and so does a doubled command', async () => {
    const agent = 'hasty';
    const number = number_of(agent);
    await far_end.ring_out(number);
    const desk = await preview(agent);
    const token = (await desk.desk()).card.token;
    await desk.page.locator('[data-testid=primary]').dblclick();
    await desk.page.locator('[data-testid=call-panel][data-state=ringing]').waitFor();
    // What no page does: the same card dialed again by other clicks, all at once.
    const statuses = await desk.page.evaluate(
      (token) =>
        Promise.all(
          Array.from({ length: 5 }, async () => {
            const answer = await fetch('/api/v1/agent/commands', {
              method: 'POST',
              headers: { 'content-type': 'application/json' },
              body: JSON.stringify({ cmd: 'dial', token, key: crypto.randomUUID() }),
            });
            return answer.status;
          }),
        ),
      token,
    );
    assert.deepEqual(statuses, [409, 409, 409, 409, 409]);
    await armed(desk, 'stop');
    await desk.primary('stop');
    await desk.state('wrap_up');
    const journal = await far_end.until_journal(number, 'ended Cancelled');
    assert.equal(journal.filter((what) => what === '< INVITE').length, 1);
  });
});

describe('foredial demo', () => {
  test('a newcomer makes a call within a minute of starting it', async () => {
    const daemon = await demo();
    try {
      const desk = await sit_down(daemon.links['Ana Brown']);
      await desk.primary('ready');
      await desk.state('previewing');
      // Some customers of the demo are busy or away, by their last two digits; this story wants one who answers.
      for (;;) {
        const { card } = await desk.desk();
        if (Number(card.phones[0].display.slice(-2)) < 70) break;
        await desk.key('s');
        await desk.key('1');
        await desk.page.locator(`[data-testid=card]:not([data-token="${card.token}"])`).waitFor();
      }
      await desk.page.locator('[data-testid=crm][data-status=ready]').waitFor();
      await armed(desk, 'dial');
      await desk.primary('dial');
      await desk.state('talking');
      const melody = await until_sound(() => heard(desk.page, [AGENT_HZ], 2_000), (level) => level.all_db > -45);
      assert.ok(melody.tone_db[AGENT_HZ] < melody.all_db - 10, 'the agent does not hear herself');
      await pause(1_000);
      await hang_up(desk);
      await recording(desk);
      await desk.page.locator('[data-testid^=disposition-]').first().click();
      await armed(desk, 'save');
      await desk.primary('save');
      await desk.state('previewing');
    } finally {
      assert.equal(await daemon.stop(), 0, daemon.log);
    }
  });
});

/** Runs in the page before anything else: when, by the clock, the customer was first heard. */
function note_the_first_tone({ hz, audible_db }) {
  const WINDOW = 2_048;
  let tap = null;
  const look = () => {
    const stream = window.foredial?.phone?.remoteStream;
    if (stream && !tap) {
      const context = new AudioContext();
      const analyser = new AnalyserNode(context, { fftSize: WINDOW });
      context.createMediaStreamSource(stream).connect(analyser);
      tap = { context, analyser, samples: new Float32Array(WINDOW) };
    }
    if (tap) {
      tap.analyser.getFloatTimeDomainData(tap.samples);
      const k = 2 * Math.cos((2 * Math.PI * hz) / tap.context.sampleRate);
      let [a, b] = [0, 0];
      for (const sample of tap.samples) [a, b] = [sample + k * a - b, a];
      const power = (2 * (a * a + b * b - k * a * b)) / WINDOW ** 2;
      if (10 * Math.log10(power + 1e-12) > audible_db) {
        window.first_tone_ms = Date.now();
        void tap.context.close();
        return;
      }
    }
    setTimeout(look, 20);
  };
  look();
}
