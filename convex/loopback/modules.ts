// The functions, for convex-test, which finds the folder by what npx convex dev would generate in it.
export const modules = {
  ...import.meta.glob("../convex/**/*.ts"),
  "../convex/_generated/server.ts": async () => ({}),
};
