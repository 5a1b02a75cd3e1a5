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
}

/** Lists are given as they stand in the rules: lower case, equal ones once or more. */
export function numberDomains(lists: readonly (readonly string[])[]): DomainNumbers {
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
  const names = [...holders.keys()].map((name) => {
    const about = [...new Set(endsOf(name).flatMap((end) => [...(holders.get(end) ?? [])]))].sort((a, b) => a - b);
    const key = about.join();
    const domain = numbers.get(key) ?? numbers.size;
    numbers.set(key, domain);
    listsOf[domain] = about;
    return { name, domain };
  });
  const numbersOf = (id: number) => listsOf.flatMap((about, domain) => (about.includes(id) ? [domain] : []));
  return { names, count: numbers.size, of: (list) => numbersOf(ids.get(keyOf(list))!) };
}

function keyOf(list: readonly string[]): string {
  return [...new Set(list)].sort().join();
}

/** a.b.c, b.c, c. */
function endsOf(name: string): string[] {
  const labels = name.split(".");
  return labels.map((_, label) => labels.slice(label).join("."));
}
