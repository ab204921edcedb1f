// The functions for convex-test, which locates their folder by the files that npx convex dev would generate.
export const modules = {
  ...import.meta.glob("../convex/**/*.ts"),
  "../convex/_generated/server.ts": async () => ({}),
};
