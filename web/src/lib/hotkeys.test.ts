import { expect, test } from 'vitest';
import { hotkey, type Press } from './hotkeys';

const press = (key: string, change: Partial<Press> = {}): Press => ({
  key, ctrlKey: false, metaKey: false, altKey: false, repeat: false, isComposing: false, defaultPrevented: false, ...change,
});

test('space and enter are the next action', () => {
  expect(hotkey(press(' '), 'page')).toBe('primary');
  expect(hotkey(press('Enter'), 'page')).toBe('primary');
});

test('on a focused control they belong to the control, the letters still work', () => {
  expect(hotkey(press(' '), 'control')).toBeNull();
  expect(hotkey(press('Enter'), 'control')).toBeNull();
  expect(hotkey(press('m'), 'control')).toBe('mute');
});

test('nothing happens while typing, but Ctrl+Enter saves', () => {
  for (const key of [' ', 'Enter', 'Escape', 'm', 'h', 's', 'd', '1', '-']) expect(hotkey(press(key), 'field')).toBeNull();
  expect(hotkey(press('Enter', { ctrlKey: true }), 'field')).toBe('primary');
  expect(hotkey(press('Enter', { metaKey: true }), 'field')).toBe('primary');
  expect(hotkey(press('Enter', { ctrlKey: true, isComposing: true }), 'field')).toBeNull();
});

test('an open menu keeps its keys', () => {
  for (const key of [' ', 'Enter', 'Escape', '1', 'd']) expect(hotkey(press(key), 'menu')).toBeNull();
});

test('modifiers belong to the browser', () => {
  for (const change of [{ ctrlKey: true }, { metaKey: true }, { altKey: true }]) {
    for (const key of ['r', 'd', 'h', '1', ' ']) expect(hotkey(press(key, change), 'page')).toBeNull();
  }
});

test('a key held down acts once, but volume steps go on', () => {
  expect(hotkey(press(' ', { repeat: true }), 'page')).toBeNull();
  expect(hotkey(press('Escape', { repeat: true }), 'page')).toBeNull();
  expect(hotkey(press('-', { repeat: true }), 'page')).toBe('quieter');
  expect(hotkey(press('=', { repeat: true }), 'page')).toBe('louder');
});

test('digits choose, capitals count as letters, the rest is left alone', () => {
  expect(hotkey(press('3'), 'page')).toEqual({ digit: 3 });
  expect(hotkey(press('0'), 'page')).toBeNull();
  expect(hotkey(press('M'), 'page')).toBe('mute');
  expect(hotkey(press('z'), 'page')).toBeNull();
  expect(hotkey(press('Tab'), 'page')).toBeNull();
});
