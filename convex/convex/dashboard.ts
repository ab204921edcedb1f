// Queries for dashboards to subscribe to. A user only sees the organization named in the token.
import { ConvexError, v } from "convex/values";
import { query, type QueryCtx } from "./functions";

const MOST = 1000;

export const organizationOf = async (ctx: QueryCtx): Promise<string> => {
  const identity = await ctx.auth.getUserIdentity();
  if (identity === null) throw new ConvexError("sign in first");
  const organizationId = identity["organization_id"];
  if (typeof organizationId !== "string" || organizationId === "") {
    throw new ConvexError("your account belongs to no organization: its token has no claim organization_id");
  }
  return organizationId;
};

// Which alerts have this status, newest first? Without a status: those not resolved.
export const alerts = query({
  args: { status: v.optional(v.union(v.literal("active"), v.literal("acknowledged"), v.literal("resolved"))) },
  handler: async (ctx, { status }) => {
    const organizationId = await organizationOf(ctx);
    const wanted = status === undefined ? ["active", "acknowledged"] : [status];
    const found = await Promise.all(
      wanted.map((one) =>
        ctx.db
          .query("alerts")
          .withIndex("by_status", (q) => q.eq("organizationId", organizationId).eq("status", one))
          .order("desc")
          .take(MOST),
      ),
    );
    return found.flat().sort((a, b) => b.created_at - a.created_at).slice(0, MOST);
  },
});

// Which anomalies are predicted, next ones first?
export const anomalies = query({
  args: {},
  handler: async (ctx) => {
    const organizationId = await organizationOf(ctx);
    const found = await Promise.all(
      ["active", "acknowledged"].map((status) =>
        ctx.db
          .query("anomalies")
          .withIndex("by_status", (q) => q.eq("organizationId", organizationId).eq("status", status))
          .take(MOST),
      ),
    );
    return found.flat().sort((a, b) => a.predicted_for - b.predicted_for).slice(0, MOST);
  },
});

// What does each resource do now?
export const resources = query({
  args: { locationId: v.optional(v.string()) },
  handler: async (ctx, { locationId }) => {
    const organizationId = await organizationOf(ctx);
    return await ctx.db
      .query("resourceStatus")
      .withIndex("by_location", (q) => {
        const own = q.eq("organizationId", organizationId);
        return locationId === undefined ? own : own.eq("location_id", locationId);
      })
      .take(MOST);
  },
});

// What demand of a product is forecast at a location, from a time on (milliseconds since 1970)?
export const forecasts = query({
  args: { productId: v.string(), locationId: v.string(), from: v.number() },
  handler: async (ctx, { productId, locationId, from }) => {
    const organizationId = await organizationOf(ctx);
    return await ctx.db
      .query("forecasts")
      .withIndex("by_product", (q) =>
        q
          .eq("organizationId", organizationId)
          .eq("product_id", productId)
          .eq("location_id", locationId)
          .gte("target_time", from),
      )
      .take(MOST);
  },
});

// Which plans are due from a day on (YYYY-MM-DD)?
export const plans = query({
  args: { from: v.string() },
  handler: async (ctx, { from }) => {
    const organizationId = await organizationOf(ctx);
    return await ctx.db
      .query("plans")
      .withIndex("by_date", (q) => q.eq("organizationId", organizationId).gte("plan_date", from))
      .take(MOST);
  },
});

// What are the KPIs of the last 1, 7 or 30 days?
export const kpis = query({
  args: { days: v.union(v.literal(1), v.literal(7), v.literal(30)) },
  handler: async (ctx, { days }) => {
    const organizationId = await organizationOf(ctx);
    return await ctx.db
      .query("kpis")
      .withIndex("by_days", (q) => q.eq("organizationId", organizationId).eq("days", days))
      .collect();
  },
});

// When did the copy last change (milliseconds since 1970)? NULL before the first time.
export const freshness = query({
  args: {},
  handler: async (ctx) => {
    const organizationId = await organizationOf(ctx);
    const state = await ctx.db
      .query("syncState")
      .withIndex("by_organization", (q) => q.eq("organizationId", organizationId))
      .unique();
    return state === null ? null : state.appliedAt;
  },
});
