import { expect, test } from 'vitest';
import { items } from './items';

const field = (label: string, value: string) => ({ label: { en: label, zh: label }, value });

test('an item begins where the first label comes again, even when an item lacks a field', () => {
  const [a, b, c, d] = [field('Product', 'A'), field('Total', '1'), field('Product', 'B'), field('Product', 'C')];
  expect(items([a!, b!, c!, d!])).toEqual([[a, b], [c], [d]]);
});

test('different labels are one item, and nothing is none', () => {
  const fields = [field('Tier', 'gold'), field('Since', '2018')];
  expect(items(fields)).toEqual([fields]);
  expect(items([])).toEqual([]);
});
