// The page against the mock of the switch, in a real browser with real WebRTC: what an agent does all day.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, beforeEach, afterEach, describe, test } from 'node:test';
import { start } from '../../web/mock/server.mjs';
import { launch, profile } from './support/browser.js';
import { open_desk } from './support/desk.js';
import { arrived, heard, until_sound } from './support/sound.js';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const CUSTOMER_HZ = 440;
const AGENT_HZ = 1_000;

let browser;
let mock;
let context;
let complaints;
let answerer;
let desk;

before(async () => (browser = await launch({ microphone_hz: AGENT_HZ })));
after(() => browser?.close());

beforeEach(async () => {
  mock = await start({ auto: false });
  ({ context, complaints } = await profile(browser));
  answerer = await context.newPage();
  await answerer.goto(`${mock.url}/mock/answerer?hz=${CUSTOMER_HZ}`);
  await answerer.waitForFunction(() => window.seat?.open);
  desk = await open_desk(context, mock.url);
  await desk.sign_in();
  await desk.seat('live');
});

afterEach(async () => {
  const seen = [...complaints];
  await context.close();
  await mock.close();
  // Among them every violation of the Content-Security-Policy the mock sends as the daemon does.
  assert.deepEqual(seen, []);
});

async function preview(lead = 0) {
  mock.desk.give_card(lead);
  mock.desk.crm_arrives();
  await desk.state('previewing');
}

/** The next action is held back for a moment when it changes. */
async function armed(action) {
  await desk.page.locator(`[data-testid=primary][data-action=${action}][aria-disabled=false]`).waitFor();
}

async function talk() {
  await preview();
  await desk.primary('dial');
  await desk.state('dialing');
  mock.desk.ring();
  mock.desk.answer();
  await desk.state('talking');
}

describe('a third party', () => {
  const third = (state) => desk.page.locator(`[data-testid=third][data-state=${state}]`).waitFor();

  test('consult a phone, swap, complete, by keys alone', async () => {
    await talk();
    await desk.key('t');
    await desk.at('transfer-to').waitFor();
    await desk.page.keyboard.type('front');
    await desk.page.keyboard.press('Enter');
    await third('calling');
    assert.equal(await desk.at('hold').isDisabled(), true);
    mock.desk.third_answers();
    await third('consulting');
    await desk.key('w');
    await desk.page.locator('[data-testid=third][data-heard=customer]').waitFor();
    await desk.key('w');
    await desk.page.locator('[data-testid=third][data-heard=third]').waitFor();
    await desk.key('c');
    await desk.state('wrap_up');
    assert.match(await desk.at('call-title').innerText(), /Transferred/);
  });

  test('a transfer that nobody answers gives the customer back, and says so', async () => {
    await talk();
    await desk.at('transfer').click();
    await desk.at('transfer-to').fill('+86 21 5555 0100');
    await desk.at('transfer-blind').click();
    await third('leaving');
    mock.desk.third_over('no_answer');
    await third('over');
    assert.match(await desk.at('third-said').innerText(), /No answer/);
    assert.equal(await desk.at('transfer').isEnabled(), true);
  });

  test('neither half a name nor a phone that is gone can be chosen', async () => {
    await talk();
    await desk.at('transfer').click();
    await desk.at('transfer-to').fill('fro');
    assert.equal(await desk.at('transfer-consult').isDisabled(), true);
    await desk.at('transfer-to').fill('');
    assert.equal(await desk.at('transfer-store').isDisabled(), true);
    await desk.at('transfer-front').click();
    assert.equal(await desk.at('transfer-consult').isEnabled(), true);
    await desk.page.keyboard.press('Escape');
    await desk.state('talking');
  });

  test('the customer who hangs up takes the dialog along', async () => {
    await talk();
    await desk.at('transfer').click();
    await desk.at('transfer-to').waitFor();
    mock.desk.end('connected', null);
    await desk.state('wrap_up');
    await desk.at('transfer-dialog').waitFor({ state: 'detached' });
  });
});

describe('a call by keys alone', () => {
  test('ready, call, mute, hold, hang up, outcome, save', async () => {
    await desk.key('Space');
    await desk.state('ready');
    await preview();
    await armed('dial');
    await desk.key('Enter');
    await desk.state('dialing');
    mock.desk.ring();
    mock.desk.answer();
    await desk.state('talking');
    await desk.key('m');
    await desk.page.locator('[data-testid=mute][aria-pressed=true]').waitFor();
    await desk.key('h');
    await desk.page.locator('[data-testid=hold][aria-pressed=true]').waitFor();
    await desk.key('h');
    await desk.key('2');
    await desk.key('n');
    await desk.page.keyboard.type('Call mh 1 again');
    await armed('hang_up');
    await desk.key('Escape'); // leaves the notes
    assert.equal(mock.desk.state.kind, 'talking');
    await desk.key('Escape');
    await desk.state('wrap_up');
    await armed('save');
    await desk.key('Space');
    await desk.state('ready');
    assert.equal(mock.desk.disposed.disposition, 'interested');
    assert.equal(mock.desk.disposed.notes, 'Call mh 1 again');
    assert.equal(mock.desk.disposed.token, 101);
    assert.match(mock.desk.disposed.key, /^[0-9a-f]{8}-[0-9a-f]{4}-4/);
  });

  test('a second press of Space after Call does not hang up', async () => {
    await preview();
    await armed('dial');
    await desk.key('Space');
    await desk.key('Space');
    await desk.state('dialing');
    await desk.page.waitForTimeout(900);
    await desk.key('Space');
    await desk.key('Enter');
    await desk.page.waitForTimeout(200);
    assert.equal(mock.desk.state.kind, 'dialing');
    assert.equal(mock.commands.filter(({ cmd }) => cmd === 'dial').length, 1);
  });

  test('Escape closes a menu and leaves the call alone', async () => {
    await talk();
    await desk.key('b');
    await desk.at('not-ready-lunch').waitFor();
    await desk.key('Escape');
    await desk.at('not-ready-lunch').waitFor({ state: 'detached' });
    assert.equal(mock.desk.state.kind, 'talking');
    await desk.key('r');
    await desk.at('recent').waitFor();
    await desk.key('Escape');
    await desk.at('recent').waitFor({ state: 'detached' });
    assert.equal(mock.desk.state.kind, 'talking');
  });
});

describe('the card', () => {
  test('skip asks for a reason, do-not-call asks twice', async () => {
    await preview();
    await desk.key('s');
    await desk.at('skip-language').waitFor();
    await desk.key('2');
    await desk.state('ready');
    assert.equal(mock.desk.skipped, 'language');
    await preview();
    await desk.at('dnc').click();
    await desk.at('dnc-cancel').click();
    await desk.at('dnc-dialog').waitFor({ state: 'detached' });
    assert.equal(mock.desk.state.kind, 'previewing');
    await desk.key('d');
    await desk.at('dnc-confirm').click();
    await desk.state('ready');
    assert.equal(mock.desk.suppressed, 1);
  });

  test('the number of a reason counts at once, before the list is there to be seen', async () => {
    await preview();
    await desk.page.evaluate(() => {
      for (const key of ['s', '2']) document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
    });
    await desk.state('ready');
    assert.equal(mock.desk.skipped, 'language');
  });

  test('text from outside stays text', async () => {
    await preview(2);
    assert.equal(await desk.at('card-name').textContent(), '<b>Bobby</b> & "Sons"');
    assert.match(await desk.at('field-product').textContent(), /<img src=x onerror=alert\(1\)>/);
    assert.match(await desk.at('history').textContent(), /<script>alert\(1\)<\/script>/);
    assert.equal(await desk.page.locator('main img, main b b, main script').count(), 0);
  });

  test('the time limit counts down, rings the bell once, and grows when extended', async () => {
    await preview();
    assert.ok(Number(await desk.at('countdown').getAttribute('data-seconds')) > 115);
    await desk.key('e');
    await desk.page.waitForFunction(() => Number(document.querySelector('[data-testid=countdown]').dataset.seconds) > 170);
    mock.desk.card.deadline_ms = Date.now() + 10_500;
    mock.desk.publish();
    await desk.page.waitForFunction(() => document.querySelector('[data-testid=announcement]').textContent === 'Ten seconds left');
  });

  test('a number that may not be called cannot be chosen, and a stale card says so', async () => {
    await preview();
    assert.equal(await desk.page.locator('[data-testid=phone-2] input').isDisabled(), true);
    await armed('dial');
    mock.desk.card = { ...mock.desk.card, token: 999 };
    await desk.key('Space');
    await desk.at('toast').waitFor();
    assert.match(await desk.at('toast').textContent(), /moved on/);
  });

  test('the gate speaks the agent\'s language', async () => {
    await preview();
    assert.match(await desk.at('phone-2').textContent(), /outside calling hours, called often enough today/);
    mock.desk.gate = 'Refused by: cap_week. Possible from 2027-01-01T00:00:00Z.';
    await armed('dial');
    await desk.key('Space');
    await desk.at('toast').filter({ hasText: 'called often enough this week' }).waitFor();
    await desk.at('language-switch').click();
    await armed('dial');
    await desk.key('Space');
    await desk.at('toast').filter({ hasText: '本周拨打次数已达上限' }).waitFor();
    assert.equal(mock.desk.state.kind, 'previewing');
  });

  test('a callback needs its time, at the customer', async () => {
    await talk();
    await armed('hang_up');
    await desk.primary('hang_up');
    await desk.state('wrap_up');
    await desk.at('disposition-callback').click();
    await desk.at('why-not').filter({ hasText: 'Choose when' }).waitFor();
    await desk.at('callback-at').fill('2027-01-05T10:30');
    await desk.at('callback-at').dispatchEvent('change');
    await armed('save');
    await desk.primary('save');
    await desk.state('ready');
    assert.equal(mock.desk.disposed.callback_at_ms, Date.UTC(2027, 0, 5, 2, 30)); // Shanghai is eight hours ahead
  });
});

describe('sound', () => {
  test('the agent hears the customer, and the customer the agent, until mute', async () => {
    await talk();
    const agent_hears = await until_sound(() => heard(desk.page, [CUSTOMER_HZ, AGENT_HZ]), (level) => level.tone_db[CUSTOMER_HZ] > -30);
    assert.ok(agent_hears.tone_db[CUSTOMER_HZ] - agent_hears.tone_db[AGENT_HZ] > 20);
    await until_sound(() => arrived(answerer, [CUSTOMER_HZ, AGENT_HZ]), (level) => level.tone_db[AGENT_HZ] > -30);
    await desk.key('m');
    await desk.page.locator('[data-testid=mute][aria-pressed=true]').waitFor();
    await until_sound(() => arrived(answerer, [AGENT_HZ]), (level) => level.tone_db[AGENT_HZ] < -60);
    await desk.key('m');
    await until_sound(() => arrived(answerer, [AGENT_HZ]), (level) => level.tone_db[AGENT_HZ] > -30);
  });

  test('volume goes to the switch in whole decibels, within its bounds', async () => {
    await talk();
    await desk.at('volume').fill('-40');
    await desk.page.locator('[data-testid=volume-db][data-db="-40"]').waitFor();
    await desk.page.keyboard.press('Home');
    await desk.at('volume').fill('12');
    await desk.page.waitForFunction(() => window.foredial.desk.call.volume_db === 12);
    assert.equal(await desk.at('volume-db').textContent(), '+12 dB');
    await desk.at('volume-db').click();
    await desk.page.waitForFunction(() => window.foredial.desk.call.volume_db === 0);
    assert.ok(mock.commands.filter(({ cmd }) => cmd === 'volume').every(({ db }) => Number.isInteger(db) && db >= -40 && db <= 12));
  });

  test('a recording plays', async () => {
    await talk();
    await armed('hang_up');
    await desk.primary('hang_up');
    await desk.state('wrap_up');
    await desk.at('recent-open').click();
    const audio = desk.at('recent-audio').first();
    await audio.evaluate((element) => element.play());
    await desk.page.waitForFunction(() => document.querySelector('[data-testid=recent-audio]').currentTime > 0.3);
  });
});

describe('the seat and the connection', () => {
  test('a reload in a call warns, keeps the notes, and takes the same seat again within 2 s', async () => {
    await talk();
    await desk.at('notes').fill('half a thought');
    const [first] = mock.seat.invites;
    let warned = false;
    desk.page.on('dialog', (dialog) => {
      warned = dialog.type() === 'beforeunload';
      void dialog.accept();
    });
    await desk.page.reload({ waitUntil: 'commit' });
    // By the page's own clock, from the moment the browser began to load it.
    const seated = await desk.page.waitForFunction(() => window.foredial?.desk?.seat.status === 'live' && performance.now());
    const took_ms = await seated.jsonValue();
    console.log(`seat taken again ${Math.round(took_ms)} ms after the reload`);
    assert.ok(warned);
    assert.ok(took_ms < 2_000, `${took_ms} ms`);
    await desk.state('talking');
    assert.equal(await desk.at('notes').inputValue(), 'half a thought');
    assert.equal(mock.seat.invites.at(-1).instance, first.instance);
    await until_sound(() => heard(desk.page, [CUSTOMER_HZ]), (level) => level.tone_db[CUSTOMER_HZ] > -30);
  });

  test('when every socket breaks both come back by themselves', async () => {
    await talk();
    mock.drop_sockets();
    await answerer.reload();
    await answerer.waitForFunction(() => window.seat?.open);
    await desk.page.locator('[data-testid=desk][data-link=live][data-seat=live]').waitFor();
    await until_sound(() => heard(desk.page, [CUSTOMER_HZ]), (level) => level.tone_db[CUSTOMER_HZ] > -30);
    await desk.state('talking');
  });

  test('a seat that the switch gave to another desk is not fought for', async () => {
    mock.seat.bye('SIP ;cause=410 ;text="replaced"');
    await desk.at('phone-trouble').waitFor();
    const invites = mock.seat.invites.length;
    await desk.page.waitForTimeout(1_500);
    assert.equal(mock.seat.invites.length, invites);
    await desk.at('phone-retry').click();
    await desk.seat('live');
  });

  test('a browser that keeps quiet gets a button, and any click opens the sound', async () => {
    const page = await context.newPage();
    await page.addInitScript(() => {
      const play = HTMLMediaElement.prototype.play;
      HTMLMediaElement.prototype.play = function () {
        return window.allowed ? play.call(this) : Promise.reject(new DOMException('not yet', 'NotAllowedError'));
      };
    });
    await desk.page.close();
    await page.goto(mock.url);
    await page.getByTestId('enable-sound').waitFor();
    await page.evaluate(() => (window.allowed = true));
    await page.getByTestId('enable-sound').click();
    await page.getByTestId('sound-refused').waitFor({ state: 'detached' });
    assert.equal(await page.evaluate(() => window.foredial.phone.sound), 'playing');
  });

  test('a refused microphone is explained, and taken when it is allowed', async () => {
    const page = await context.newPage();
    await page.addInitScript(() => {
      const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = (wanted) =>
        window.allowed ? open(wanted) : Promise.reject(new DOMException('no', 'NotAllowedError'));
    });
    await desk.page.close();
    await page.goto(mock.url);
    await page.getByTestId('phone-trouble').filter({ hasText: 'microphone' }).waitFor();
    await page.evaluate(() => (window.allowed = true));
    await page.getByTestId('phone-retry').click();
    await page.locator('[data-testid=desk][data-seat=live]').waitFor();
    await page.getByTestId('phone-trouble').waitFor({ state: 'detached' });
  });

  test('one tab owns the phone, the other can take over', async () => {
    const second = await open_desk(context, mock.url);
    await second.at('other-tab').waitFor();
    await second.at('take-over').click();
    await second.seat('live');
    await desk.at('other-tab').waitFor();
    await second.page.close();
    await desk.seat('live');
  });

  test('a session that ended leads to sign-in', async () => {
    mock.signed_in = false;
    mock.drop_sockets();
    await desk.at('signin-form').waitFor();
    assert.match(await desk.at('signin-error').textContent(), /signed out/);
  });

  test('signing out leaves the seat and the desk', async () => {
    await desk.at('sign-out').click();
    await desk.at('signin-form').waitFor();
    assert.ok(mock.commands.some(({ cmd }) => cmd === 'log_out'));
  });
});

describe('for everybody', () => {
  const scenes = {
    'not ready': async () => undefined,
    waiting: async () => mock.desk.wait_because('no_leads', null, Date.now() + 60_000),
    preview: async () => preview(),
    talking: async () => talk(),
    'wrap-up': async () => {
      await talk();
      await armed('hang_up');
      await desk.primary('hang_up');
      await desk.state('wrap_up');
      await desk.key('3');
    },
  };

  for (const [name, scene] of Object.entries(scenes)) {
    test(`${name}: readable by WCAG AA in both colours and languages, on one screen`, async () => {
      await scene();
      for (const theme of ['light', 'dark']) {
        for (const locale of ['en', 'zh']) {
          await desk.page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
          if ((await desk.at('language-switch').getAttribute('data-locale')) !== locale) await desk.at('language-switch').click();
          await desk.page.mouse.move(600, 30);
          await desk.page.waitForTimeout(700);
          await desk.page.evaluate(AXE); // by the debugger, so the page's own policy stays as it is
          const { violations, passes } = await desk.page.evaluate(() => window.axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa'] }));
          assert.ok(passes.some(({ id, nodes }) => id === 'color-contrast' && nodes.length > 10));
          assert.deepEqual(
            violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html.slice(0, 120)} ${failureSummary}`).join(' | ')}`),
            [],
            `${theme} ${locale}`,
          );
          const overflow = await desk.overflow();
          assert.ok(overflow.x <= 0 && overflow.y <= 0, `${theme} ${locale} ${JSON.stringify(overflow)}`);
        }
      }
    });
  }
});
