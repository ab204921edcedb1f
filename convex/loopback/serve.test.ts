// Runs the functions in convex-test behind a server with Convex's HTTP API on the loopback, for the sender's
// tests. It is not Convex: convex-test keeps everything in memory, and its error messages, identifiers and
// time limits differ.
//
//   PORT=0 FAULT_PCT=30 npm run loopback      prints {"port": …}; ends with its standard input
//
// FAULT_PCT of the mutations fail: cut before they run, cut after, or 503. POST /test/faults {"pct": 0} changes it,
// POST /test/read {"table": …} reads a table.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { convexTest } from "convex-test";
import { makeFunctionReference } from "convex/server";
import { test } from "vitest";
import schema from "../convex/schema";
import { modules } from "./modules";

const KEY = process.env.CONVEX_DEPLOY_KEY ?? "loopback|key";
let faultPct = Number(process.env.FAULT_PCT ?? 0);
const seen = { mutations: 0, faults: 0 };

const body = async (request: IncomingMessage) => {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return JSON.parse(Buffer.concat(parts).toString("utf8"));
};

const answer = (response: ServerResponse, status: number, value: unknown, headers = {}) => {
  response.writeHead(status, { "Content-Type": "application/json", ...headers });
  response.end(JSON.stringify(value));
};

test("serve until the input ends", async () => {
  const deployment = convexTest({ schema, modules, transactionLimits: true } as never);
  // One mutation at a time, like transactions.
  let turn: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(run: () => Promise<T>): Promise<T> => {
    const result = turn.then(run, run);
    turn = result.catch(() => undefined);
    return result;
  };

  const call = async (kind: string, { path, args }: { path: string; args: Record<string, unknown> }) => {
    try {
      const value =
        kind === "mutation"
          ? await inTurn(() => deployment.mutation(makeFunctionReference<"mutation">(path), args))
          : await deployment.query(makeFunctionReference<"query">(path), args);
      return { status: "success", value, logLines: [] };
    } catch (error) {
      return { status: "error", errorMessage: String((error as Error).message), logLines: [] };
    }
  };

  const server = createServer(async (request, response) => {
    const path = request.url ?? "";
    if (path === "/test/faults") {
      faultPct = (await body(request)).pct;
      return answer(response, 200, seen);
    }
    if (path === "/test/read") {
      const { table } = await body(request);
      return answer(response, 200, await deployment.run(async (ctx) => await ctx.db.query(table).collect()), {});
    }
    if (request.headers.authorization !== `Convex ${KEY}`) return answer(response, 401, { code: "Unauthorized" });
    const asked = await body(request);
    if (path === "/api/query") return answer(response, 200, await call("query", asked));
    if (path !== "/api/mutation") return answer(response, 404, { code: "NotFound" });
    seen.mutations += 1;
    const fault = Math.random() * 100 < faultPct ? Math.floor(Math.random() * 3) : -1;
    if (fault >= 0) seen.faults += 1;
    if (fault === 0) return request.socket.destroy(); // before
    if (fault === 1) return answer(response, 503, { code: "Overloaded" });
    const result = await call("mutation", asked);
    if (fault === 2) return request.socket.destroy(); // after it was applied
    answer(response, 200, result);
  });
  await new Promise<void>((resolve) => server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", resolve));
  process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port })}\n`);
  await new Promise<void>((resolve) => {
    process.on("SIGTERM", () => resolve());
    const watch = setInterval(() => {
      if (process.ppid === 1) resolve();
    }, 1000);
    watch.unref();
  });
  server.closeAllConnections();
  server.close();
});
