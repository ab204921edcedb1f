// Serves the functions on the loopback, for the sender's tests: see loopback/serve.test.ts.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["loopback/serve.test.ts"],
    testTimeout: 0,
    hookTimeout: 0,
    teardownTimeout: 1000,
    disableConsoleIntercept: true,
    server: { deps: { inline: ["convex-test"] } },
  },
});
