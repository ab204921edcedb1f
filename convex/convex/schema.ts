// The copy: a table for each kind, a document for each key of an organization.
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
import { kinds } from "./kinds";

const named = { organizationId: v.string(), key: v.string() };

export default defineSchema({
  alerts: defineTable({ ...named, ...kinds.alert.fields })
    .index("by_key", ["organizationId", "key"])
    .index("by_expiry", ["expires_at"])
    .index("by_status", ["organizationId", "status", "created_at"]),
  anomalies: defineTable({ ...named, ...kinds.anomaly.fields })
    .index("by_key", ["organizationId", "key"])
    .index("by_expiry", ["expires_at"])
    .index("by_status", ["organizationId", "status", "predicted_for"]),
  resourceStatus: defineTable({ ...named, ...kinds.resource_status.fields })
    .index("by_key", ["organizationId", "key"])
    .index("by_expiry", ["expires_at"])
    .index("by_location", ["organizationId", "location_id"]),
  forecasts: defineTable({ ...named, ...kinds.forecast.fields })
    .index("by_key", ["organizationId", "key"])
    .index("by_expiry", ["expires_at"])
    .index("by_product", ["organizationId", "product_id", "location_id", "target_time"]),
  plans: defineTable({ ...named, ...kinds.plan.fields })
    .index("by_key", ["organizationId", "key"])
    .index("by_expiry", ["expires_at"])
    .index("by_date", ["organizationId", "plan_date"]),
  kpis: defineTable({ ...named, ...kinds.kpi.fields })
    .index("by_key", ["organizationId", "key"])
    .index("by_expiry", ["expires_at"])
    .index("by_days", ["organizationId", "days"]),
  // The newest call applied for each organization.
  syncState: defineTable({ organizationId: v.string(), version: v.int64(), appliedAt: v.number() }).index(
    "by_organization",
    ["organizationId"],
  ),
});
