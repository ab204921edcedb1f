// Functions for the sender, which has the deployment's key. All are internal: clients cannot call them.
import { v } from "convex/values";
import { internalMutation, internalQuery, type MutationCtx, type QueryCtx } from "./functions";
import { kinds } from "./kinds";

const change = v.union(
  v.object({ kind: v.literal("alert"), key: v.string(), document: v.union(v.null(), v.object(kinds.alert.fields)) }),
  v.object({ kind: v.literal("anomaly"), key: v.string(), document: v.union(v.null(), v.object(kinds.anomaly.fields)) }),
  v.object({
    kind: v.literal("resource_status"),
    key: v.string(),
    document: v.union(v.null(), v.object(kinds.resource_status.fields)),
  }),
  v.object({ kind: v.literal("forecast"), key: v.string(), document: v.union(v.null(), v.object(kinds.forecast.fields)) }),
  v.object({ kind: v.literal("plan"), key: v.string(), document: v.union(v.null(), v.object(kinds.plan.fields)) }),
  v.object({ kind: v.literal("kpi"), key: v.string(), document: v.union(v.null(), v.object(kinds.kpi.fields)) }),
);
const kindName = v.union(
  v.literal("alert"),
  v.literal("anomaly"),
  v.literal("resource_status"),
  v.literal("forecast"),
  v.literal("plan"),
  v.literal("kpi"),
);

const PAGE = 1000;
const SWEPT_AT_ONCE = 500;

const stateOf = (ctx: QueryCtx | MutationCtx, organizationId: string) =>
  ctx.db
    .query("syncState")
    .withIndex("by_organization", (q) => q.eq("organizationId", organizationId))
    .unique();

const documentOf = (ctx: QueryCtx | MutationCtx, table: Table, organizationId: string, key: string) =>
  ctx.db
    .query(table)
    .withIndex("by_key", (q) => q.eq("organizationId", organizationId).eq("key", key))
    .unique();

type Table = (typeof kinds)[keyof typeof kinds]["table"];

// Applies one batch, all or nothing. A request older than the newest applied one is outdated: nothing of it
// is applied.
export const apply = internalMutation({
  args: { organizationId: v.string(), version: v.string(), changes: v.array(change) },
  handler: async (ctx, { organizationId, version, changes }) => {
    const state = await stateOf(ctx, organizationId);
    const number = BigInt(version);
    if (state !== null && number <= state.version) {
      return { applied: false, version: state.version.toString() };
    }
    if (state === null) {
      await ctx.db.insert("syncState", { organizationId, version: number, appliedAt: Date.now() });
    } else {
      await ctx.db.patch(state._id, { version: number, appliedAt: Date.now() });
    }

    for (const { kind, key, document } of changes) {
      const table: Table = kinds[kind].table;
      const there = await documentOf(ctx, table, organizationId, key);
      if (document === null) {
        if (there !== null) await ctx.db.delete(there._id);
        continue;
      }
      const wanted = { organizationId, key, ...document };
      if (there === null) {
        await ctx.db.insert(table, wanted as never);
      } else if (!same(there, wanted)) {
        // Unchanged documents are not written, so that subscriptions do not rerun.
        await ctx.db.replace(there._id as never, wanted as never);
      }
    }
    return { applied: true, version };
  },
});

const same = (there: object, wanted: object) => {
  const known = there as Record<string, unknown>;
  return Object.entries(wanted).every(([name, value]) => Object.is(known[name], value));
};

// Deletes expired documents, which no change in the database removes. Called each hour by crons.ts.
export const sweep = internalMutation({
  args: {},
  handler: async (ctx) => {
    let swept = 0;
    for (const { table } of Object.values(kinds)) {
      const expired = await ctx.db
        .query(table as Table)
        .withIndex("by_expiry", (q) => q.gt("expires_at", 0).lte("expires_at", Date.now()))
        .take(SWEPT_AT_ONCE);
      for (const document of expired) await ctx.db.delete(document._id);
      swept += expired.length;
    }
    return swept;
  },
});

// One page of the copy, for barnameh sync convex --verify.
export const documents = internalQuery({
  args: { organizationId: v.string(), kind: kindName, cursor: v.union(v.null(), v.string()) },
  handler: async (ctx, { organizationId, kind, cursor }) => {
    const rows = await ctx.db
      .query(kinds[kind].table as Table)
      .withIndex("by_key", (q) => {
        const own = q.eq("organizationId", organizationId);
        return cursor === null ? own : own.gt("key", cursor);
      })
      .take(PAGE);
    const now = Date.now();
    return {
      documents: rows
        .filter((row) => row.expires_at === null || row.expires_at > now)
        .map(({ _id, _creationTime, organizationId: _, key, ...document }) => ({ key, document })),
      cursor: rows.length < PAGE ? null : rows[rows.length - 1].key,
    };
  },
});

// The newest applied call; also shows whether the functions are deployed.
export const state = internalQuery({
  args: { organizationId: v.string() },
  handler: async (ctx, { organizationId }) => {
    const found = await stateOf(ctx, organizationId);
    return found === null ? null : { version: found.version.toString(), appliedAt: found.appliedAt };
  },
});
