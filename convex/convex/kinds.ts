// Made from db_utils.outbox.KINDS by: python -m barnameh.sync.documents > convex/convex/kinds.ts
import { v } from "convex/values";

// Times are milliseconds since 1970 UTC, dates YYYY-MM-DD, numbers float64.
export const kinds = {
  // Which alerts are open, or were resolved within 30 days?
  alert: {
    table: "alerts",
    fields: {
      alert_id: v.string(),
      created_at: v.number(),
      severity: v.string(),
      alert_type: v.string(),
      title: v.string(),
      message: v.union(v.null(), v.string()),
      status: v.string(),
      location_id: v.union(v.null(), v.string()),
      resource_id: v.union(v.null(), v.string()),
      anomaly_id: v.union(v.null(), v.string()),
      acknowledged_at: v.union(v.null(), v.number()),
      acknowledged_by: v.union(v.null(), v.string()),
      resolved_at: v.union(v.null(), v.number()),
      resolution: v.union(v.null(), v.string()),
      expires_at: v.union(v.null(), v.number()),
    },
  },
  // Which predicted anomalies are open, or were closed within 30 days?
  anomaly: {
    table: "anomalies",
    fields: {
      anomaly_id: v.string(),
      resource_id: v.string(),
      anomaly_type: v.string(),
      severity: v.string(),
      status: v.string(),
      probability: v.number(),
      predicted_for: v.number(),
      description: v.union(v.null(), v.string()),
      model_name: v.string(),
      model_version: v.string(),
      available_at: v.number(),
      outcome: v.union(v.null(), v.string()),
      occurred_at: v.union(v.null(), v.number()),
      closed_at: v.union(v.null(), v.number()),
      expires_at: v.union(v.null(), v.number()),
    },
  },
  // What does each resource do now?
  resource_status: {
    table: "resourceStatus",
    fields: {
      resource_id: v.string(),
      location_id: v.string(),
      name: v.string(),
      resource_type: v.string(),
      status: v.string(),
      last_event_at: v.union(v.null(), v.number()),
      last_event_type: v.union(v.null(), v.string()),
      last_event_cause: v.union(v.null(), v.string()),
      last_metric_at: v.union(v.null(), v.number()),
      utilization_pct: v.union(v.null(), v.number()),
      efficiency_pct: v.union(v.null(), v.number()),
      downtime_minutes: v.union(v.null(), v.number()),
      expires_at: v.union(v.null(), v.number()),
    },
  },
  // Which demand is expected now, for targets that are ahead or passed within seven days?
  forecast: {
    table: "forecasts",
    fields: {
      product_id: v.string(),
      location_id: v.string(),
      target_time: v.number(),
      target_minutes: v.number(),
      predicted_quantity: v.number(),
      lower_bound: v.union(v.null(), v.number()),
      upper_bound: v.union(v.null(), v.number()),
      interval_coverage_pct: v.number(),
      model_name: v.string(),
      model_version: v.string(),
      available_at: v.number(),
      expires_at: v.union(v.null(), v.number()),
    },
  },
  // Which production plans are active, or ended within 30 days?
  plan: {
    table: "plans",
    fields: {
      plan_id: v.string(),
      location_id: v.string(),
      resource_id: v.union(v.null(), v.string()),
      product_id: v.string(),
      plan_date: v.string(),
      planned_quantity: v.number(),
      actual_quantity: v.union(v.null(), v.number()),
      status: v.string(),
      priority: v.number(),
      updated_at: v.number(),
      expires_at: v.union(v.null(), v.number()),
    },
  },
  // What are the KPIs of the last 1, 7 and 30 times 24 hours?
  kpi: {
    table: "kpis",
    fields: {
      days: v.number(),
      kpi: v.string(),
      value: v.union(v.null(), v.number()),
      unit: v.string(),
      numerator: v.union(v.null(), v.number()),
      numerator_unit: v.union(v.null(), v.string()),
      denominator: v.union(v.null(), v.number()),
      denominator_unit: v.union(v.null(), v.string()),
      coverage_pct: v.union(v.null(), v.number()),
      reason: v.union(v.null(), v.string()),
      period_start: v.number(),
      period_end: v.number(),
      expires_at: v.union(v.null(), v.number()),
    },
  },
} as const;
