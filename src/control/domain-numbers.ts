/**
 * Numbers for the domain names of rules, such that a number tells all the rules that a name is meant by. Names that the same lists are
 * about share one: `example.org` in one rule and `www.example.org` in another make two, of which the longer name's stands for both rules.
 */
import type { NamedDomain } from "../tables/domain-table.ts";

/** A number is a byte in the cache of addresses. */
export const mostDomainNumbers = 255;

export interface DomainNumbers {
  /** Every name that some list has, once. */
  readonly names: readonly NamedDomain[];
  /** How many numbers there are. */
  readonly count: number;
  /** The numbers that stand for a list, one of those that were given. */
  of(list: readonly string[]): number[];
  /** What each number stands for: the lists, as text. */
  readonly meanings: ReadonlyMap<string, number>;
}

/**
 * Lists are given as they stand in the rules: lower case, equal ones once or more. What has a number in `before`, the meanings of
 * the rules until now, keeps it, and no other gets one of theirs as long as there are others: addresses that are known by
 * a number outlive the rules.
 */
export function numberDomains(
  lists: readonly (readonly string[])[],
  before: ReadonlyMap<string, number> = new Map(),
): DomainNumbers {
  const ids = new Map<string, number>();
  const holders = new Map<string, Set<number>>();
  for (const list of lists) {
    const key = keyOf(list);
    const id = ids.get(key) ?? ids.size;
    ids.set(key, id);
    for (const name of list) holders.set(name, (holders.get(name) ?? new Set()).add(id));
  }
  const numbers = new Map<string, number>();
  const listsOf: number[][] = [];
  const listKeys = [...ids.keys()];
  const names = [...holders.keys()].map((name) => {
    const about = [...new Set(endsOf(name).flatMap((end) => [...(holders.get(end) ?? [])]))];
    const meaning = about
      .map((id) => listKeys[id]!)
      .sort()
      .join(" ");
    const domain = numbers.get(meaning) ?? before.get(meaning) ?? unusedNumber(numbers, before);
    numbers.set(meaning, domain);
    listsOf[domain] = about;
    return { name, domain };
  });
  const numbersOf = (id: number) => listsOf.flatMap((about, domain) => (about.includes(id) ? [domain] : []));
  return { names, count: numbers.size, of: (list) => numbersOf(ids.get(keyOf(list))!), meanings: numbers };
}

function unusedNumber(numbers: ReadonlyMap<string, number>, before: ReadonlyMap<string, number>): number {
  const used = new Set([...numbers.values(), ...before.values()]);
  for (let number = 0; number < mostDomainNumbers; number++) if (!used.has(number)) return number;
  // More sets than there are numbers in the old rules and the new together: one of what is gone, or too many, which the check refuses.
  const own = new Set(numbers.values());
  let number = 0;
  while (own.has(number)) number++;
  return number;
}

function keyOf(list: readonly string[]): string {
  return [...new Set(list)].sort().join();
}

/** a.b.c, b.c, c. */
function endsOf(name: string): string[] {
  const labels = name.split(".");
  return labels.map((_, label) => labels.slice(label).join("."));
}
