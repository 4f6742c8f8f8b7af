import { expect, test } from 'vitest';
import { OneTab, type Locks, type Owner } from './one_tab';

/** Web Locks as the specification has them, for one name. */
function browser(): Locks {
  let holder: { stolen: (error: Error) => void } | null = null;
  const queue: (() => void)[] = [];
  return {
    request(_name, { steal, ifAvailable, signal }, held) {
      return new Promise((resolve, reject) => {
        const grant = () => {
          const mine = { stolen: reject };
          holder = mine;
          void held({}).then(() => {
            if (holder !== mine) return;
            holder = null;
            resolve(undefined);
            queue.shift()?.();
          });
        };
        if (steal) {
          holder?.stolen(new Error('AbortError'));
          grant();
        } else if (!holder) grant();
        else if (ifAvailable) void held(null).then(resolve);
        else {
          queue.push(grant);
          signal?.addEventListener('abort', () => {
            queue.splice(queue.indexOf(grant), 1);
            reject(new Error('AbortError'));
          });
        }
      });
    },
  };
}

const settle = () => new Promise((done) => setTimeout(done, 5));

test('the second tab stands back, takes over, and the first one stands back then', async () => {
  const locks = browser();
  const [a, b]: [Owner[], Owner[]] = [[], []];
  const first = new OneTab(locks, 'phone', (owner) => a.push(owner));
  const second = new OneTab(locks, 'phone', (owner) => b.push(owner));
  void first.claim();
  await settle();
  void second.claim();
  await settle();
  expect([a, b]).toEqual([['this_tab'], ['other_tab']]);
  void second.take_over();
  await settle();
  expect([first.owner, second.owner]).toEqual(['other_tab', 'this_tab']);
});

test('a waiting tab gets the phone when the other one leaves', async () => {
  const locks = browser();
  const first = new OneTab(locks, 'phone', () => undefined);
  const second = new OneTab(locks, 'phone', () => undefined);
  void first.claim();
  await settle();
  void second.claim();
  await settle();
  first.leave();
  await settle();
  expect(second.owner).toBe('this_tab');
});

test('without Web Locks the page just works', async () => {
  const alone = new OneTab(undefined, 'phone', () => undefined);
  await alone.claim();
  expect(alone.owner).toBe('this_tab');
});
