// Keys of the desk. They rest while somebody types, composes Chinese, holds a modifier or keeps a key down; Space and
// Enter on a focused control belong to that control.

export type Hotkey =
  | 'primary' | 'escape' | 'mute' | 'hold' | 'skip' | 'dnc' | 'extend' | 'notes' | 'not_ready' | 'recent' | 'help'
  | 'give_back' | 'louder' | 'quieter' | 'transfer' | 'swap' | 'complete' | 'drop' | { digit: number };

export type Press = {
  key: string;
  code?: string;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
  repeat: boolean;
  isComposing: boolean;
  defaultPrevented: boolean;
};

export type Where = 'page' | 'control' | 'field' | 'menu';

const LETTERS: Record<string, Hotkey> = {
  m: 'mute', h: 'hold', s: 'skip', d: 'dnc', e: 'extend', n: 'notes', b: 'not_ready', r: 'recent', g: 'give_back', '?': 'help',
  t: 'transfer', w: 'swap', c: 'complete', x: 'drop',
  '-': 'quieter', '+': 'louder', '=': 'louder',
};

/** What a press means, or null when the page should leave it alone. */
export function hotkey(press: Press, where: Where): Hotkey | null {
  if (press.isComposing || press.defaultPrevented || where === 'menu') return null;
  if (where === 'field') {
    const save = press.key === 'Enter' && (press.ctrlKey || press.metaKey) && !press.altKey && !press.repeat;
    return save ? 'primary' : null;
  }
  if (press.ctrlKey || press.metaKey || press.altKey) return null;
  const steps = press.key === '-' || press.key === '+' || press.key === '=';
  if (press.repeat && !steps) return null;
  if (press.key === 'Escape') return 'escape';
  if (press.key === ' ' || press.key === 'Enter') return where === 'page' ? 'primary' : null;
  if (/^[1-9]$/.test(press.key)) return { digit: Number(press.key) };
  return LETTERS[press.key.toLowerCase()] ?? null;
}

/** bits-ui marks what is on its way out. */
const FLOATING = ['menu', 'dialog', 'alertdialog'].map((role) => `[role="${role}"]:not([data-state="closed"])`).join();
const FIELDS = new Set(['INPUT', 'TEXTAREA', 'SELECT']);
const KEYLESS_INPUTS = new Set(['range', 'radio', 'checkbox', 'button']);

/** Where the focus is, from the element that got the key. */
export function where_is(target: EventTarget | null): Where {
  if (!(target instanceof HTMLElement)) return 'page';
  if (target.closest(FLOATING)) return 'menu';
  if (target.isContentEditable) return 'field';
  if (target instanceof HTMLInputElement && KEYLESS_INPUTS.has(target.type)) return 'control';
  if (FIELDS.has(target.tagName)) return 'field';
  return target.closest('button, a, summary, audio, [role="button"]') ? 'control' : 'page';
}
