import { defineConfig } from "vitest/config";

/**
 * Three kinds of test, apart because they need different things: `unit` runs anywhere and in parallel;
 * `platform` asks the kernel about behaviour we rely on and needs root; `netns` drives real traffic through
 * namespaces, one file at a time, so that two of them never share the processors while one measures.
 */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/{unit,path,model,fuzz,conformance,tidy}/**/*.test.ts"],
          // The longest take nine seconds on an idle machine.
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: "platform",
          include: ["test/platform/**/*.test.ts"],
          testTimeout: 30_000,
          hookTimeout: 30_000,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: "netns",
          include: ["test/netns/**/*.test.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
