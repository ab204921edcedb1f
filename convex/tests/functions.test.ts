import { convexTest } from "convex-test";
import { makeFunctionReference } from "convex/server";
import { describe, expect, test } from "vitest";
import schema from "../convex/schema";
import { modules } from "../loopback/modules";

const apply = makeFunctionReference<"mutation">("sync:apply");
const sweep = makeFunctionReference<"mutation">("sync:sweep");
const documents = makeFunctionReference<"query">("sync:documents");
const state = makeFunctionReference<"query">("sync:state");
const dashboard = (name: string) => makeFunctionReference<"query">(`dashboard:${name}`);

const begin = () => convexTest({ schema, modules, transactionLimits: true } as never);
const OURS = "11111111-1111-1111-1111-111111111111";
const THEIRS = "22222222-2222-2222-2222-222222222222";
const HOUR = 3_600_000;

const alert = (change: object = {}) => ({
  alert_id: "a1",
  created_at: 1000,
  severity: "high",
  alert_type: "bottleneck",
  title: "Press 3",
  message: null,
  status: "active",
  location_id: null,
  resource_id: "r1",
  anomaly_id: null,
  acknowledged_at: null,
  acknowledged_by: null,
  resolved_at: null,
  resolution: null,
  expires_at: null,
  ...change,
});
const kpi = (change: object = {}) => ({
  days: 7,
  kpi: "oee",
  value: 71.5,
  unit: "%",
  numerator: null,
  numerator_unit: null,
  denominator: null,
  denominator_unit: null,
  coverage_pct: 100,
  reason: null,
  period_start: 0,
  period_end: 1,
  expires_at: null,
  ...change,
});
const batch = (version: string, changes: object[], organizationId = OURS) => ({ organizationId, version, changes });
const of = (key: string, document: object | null, kind = "alert") => ({ kind, key, document });

describe("apply", () => {
  test("writes, replaces and deletes the documents of a batch", async () => {
    const t = begin();
    expect(await t.mutation(apply, batch("1", [of("a1", alert()), of("7/oee", kpi(), "kpi")]))).toEqual({
      applied: true,
      version: "1",
    });
    await t.mutation(apply, batch("2", [of("a1", alert({ status: "resolved", resolved_at: 5 }))]));
    const rows = await t.run(async (ctx) => await ctx.db.query("alerts" as never).collect());
    expect(rows).toMatchObject([{ key: "a1", organizationId: OURS, status: "resolved", resolved_at: 5 }]);
    await t.mutation(apply, batch("3", [of("a1", null), of("never there", null)]));
    expect((await t.query(documents, { organizationId: OURS, kind: "alert", cursor: null })).documents).toEqual([]);
    expect((await t.query(documents, { organizationId: OURS, kind: "kpi", cursor: null })).documents).toEqual([
      { key: "7/oee", document: kpi() },
    ]);
  });

  test("applies nothing of an outdated request, and returns the applied version", async () => {
    const t = begin();
    await t.mutation(apply, batch("9007199254740993", [of("a1", alert({ title: "new" }))]));
    for (const late of ["9007199254740992", "9007199254740993"]) {
      expect(await t.mutation(apply, batch(late, [of("a1", alert({ title: "old" })), of("a2", alert())]))).toEqual({
        applied: false,
        version: "9007199254740993",
      });
    }
    const found = await t.query(documents, { organizationId: OURS, kind: "alert", cursor: null });
    expect(found.documents.map((d: { document: { title: string } }) => d.document.title)).toEqual(["new"]);
    // Each organization has its own count.
    expect(await t.mutation(apply, batch("1", [of("a1", alert())], THEIRS))).toMatchObject({ applied: true });
    expect(await t.query(state, { organizationId: THEIRS })).toMatchObject({ version: "1" });
  });

  test("does not write unchanged documents", async () => {
    const t = begin();
    await t.mutation(apply, batch("1", [of("a1", alert())]));
    const read = () => t.run(async (ctx) => await ctx.db.query("alerts" as never).collect());
    const before = await read();
    await t.mutation(apply, batch("2", [of("a1", alert())]));
    expect(await read()).toEqual(before);
  });

  test("is all or nothing, and rejects fields unknown to the schema", async () => {
    const t = begin();
    for (const wrong of [{ surprise: 1 }, { title: null }, { created_at: "yesterday" }]) {
      await expect(t.mutation(apply, batch("1", [of("a1", alert()), of("a2", alert(wrong))]))).rejects.toThrow();
    }
    await expect(t.mutation(apply, batch("1", [of("a", alert(), "rumour")]))).rejects.toThrow();
    expect((await t.query(documents, { organizationId: OURS, kind: "alert", cursor: null })).documents).toEqual([]);
  });

  test("accepts 500 documents within the limits of a transaction", async () => {
    const t = begin();
    const changes = Array.from({ length: 500 }, (_, n) => of(`a${n}`, alert({ alert_id: `a${n}` })));
    expect(await t.mutation(apply, batch("1", changes))).toMatchObject({ applied: true });
    expect((await t.query(documents, { organizationId: OURS, kind: "alert", cursor: null })).documents).toHaveLength(500);
  }, 120_000);
});

test("returns documents page by page, each once", async () => {
  const t = begin();
  await t.run(async (ctx) => {
    for (let n = 0; n < 2250; n++) {
      await ctx.db.insert("alerts" as never, { organizationId: OURS, key: `a${n}`, ...alert() } as never);
    }
  });
  const keys: string[] = [];
  let cursor: string | null = null;
  do {
    const page: { documents: { key: string }[]; cursor: string | null } = await t.query(documents, {
      organizationId: OURS,
      kind: "alert",
      cursor,
    });
    keys.push(...page.documents.map((d) => d.key));
    cursor = page.cursor;
  } while (cursor !== null);
  expect(keys).toHaveLength(2250);
  expect(new Set(keys).size).toBe(2250);
}, 120_000);

test("deletes expired documents and keeps the rest", async () => {
  const t = begin();
  const now = Date.now();
  await t.mutation(
    apply,
    batch("1", [
      of("over", alert({ status: "resolved", expires_at: now - HOUR })),
      of("later", alert({ status: "resolved", expires_at: now + HOUR })),
      of("open", alert()),
    ]),
  );
  const keys = async () =>
    (await t.query(documents, { organizationId: OURS, kind: "alert", cursor: null })).documents
      .map((d: { key: string }) => d.key)
      .sort();
  expect(await keys()).toEqual(["later", "open"]);
  expect(await t.mutation(sweep, {})).toBe(1);
  expect(await t.mutation(sweep, {})).toBe(0);
  expect(await keys()).toEqual(["later", "open"]);
});

describe("dashboard", () => {
  const args: Record<string, object> = {
    alerts: {},
    anomalies: {},
    resources: {},
    forecasts: { productId: "P", locationId: "l1", from: 0 },
    plans: { from: "2026-01-01" },
    kpis: { days: 7 },
    freshness: {},
  };
  const rows = (mark: string) => [
    of("a1", alert({ title: mark })),
    of(
      "n1",
      {
        anomaly_id: "n1", resource_id: "r1", anomaly_type: "failure", severity: "low", status: "active", probability: 0.5,
        predicted_for: 5, description: mark, model_name: "m", model_version: "1", available_at: 1, outcome: null,
        occurred_at: null, closed_at: null, expires_at: null,
      },
      "anomaly",
    ),
    of(
      "r1",
      {
        resource_id: "r1", location_id: "l1", name: mark, resource_type: "press", status: "running", last_event_at: null,
        last_event_type: null, last_event_cause: null, last_metric_at: null, utilization_pct: 50, efficiency_pct: null,
        downtime_minutes: null, expires_at: null,
      },
      "resource_status",
    ),
    of(
      '["P","l1"]',
      {
        product_id: "P", location_id: "l1", target_time: 5, target_minutes: 1440, predicted_quantity: 3, lower_bound: null,
        upper_bound: null, interval_coverage_pct: 90, model_name: mark, model_version: "1", available_at: 1,
        expires_at: Date.now() + HOUR,
      },
      "forecast",
    ),
    of(
      "p1",
      {
        plan_id: "p1", location_id: "l1", resource_id: null, product_id: mark, plan_date: "2026-11-29", planned_quantity: 5,
        actual_quantity: null, status: "planned", priority: 3, updated_at: 1, expires_at: null,
      },
      "plan",
    ),
    of("7/oee", kpi({ unit: mark }), "kpi"),
  ];

  test("shows users only their own organization", async () => {
    const t = begin();
    await t.mutation(apply, batch("1", rows("ours")));
    await t.mutation(apply, batch("1", rows("theirs"), THEIRS));
    const user = t.withIdentity({ subject: "u", organization_id: OURS });
    for (const [name, given] of Object.entries(args)) {
      const found = await user.query(dashboard(name), given);
      if (name === "freshness") continue;
      expect(found, name).toHaveLength(1);
      expect(JSON.stringify(found), name).toContain("ours");
      expect(JSON.stringify(found), name).not.toContain("theirs");
    }
    const stranger = t.withIdentity({ subject: "s", organization_id: "33333333-3333-3333-3333-333333333333" });
    for (const [name, given] of Object.entries(args)) {
      expect(await stranger.query(dashboard(name), given), name).toEqual(name === "freshness" ? null : []);
    }
  });

  test("shows nothing without an organization", async () => {
    const t = begin();
    for (const [name, given] of Object.entries(args)) {
      await expect(t.query(dashboard(name), given)).rejects.toThrow("sign in first");
      for (const claim of [undefined, "", 5, [OURS]]) {
        const user = t.withIdentity({ subject: "u", organization_id: claim as never });
        await expect(user.query(dashboard(name), given)).rejects.toThrow("no organization");
      }
      // Clients cannot choose the organization.
      const user = t.withIdentity({ subject: "u", organization_id: OURS });
      await expect(user.query(dashboard(name), { ...given, organizationId: THEIRS })).rejects.toThrow();
    }
  });

  test("has no other public functions", async () => {
    const files = import.meta.glob("../convex/*.ts", { eager: true }) as Record<string, Record<string, object>>;
    const open = Object.entries(files).flatMap(([path, module]) =>
      Object.entries(module)
        .filter(([, value]) => (value as { isPublic?: boolean })?.isPublic)
        .map(([name]) => `${path.split("/").pop()}:${name}`),
    );
    expect(open.sort()).toEqual(Object.keys(args).map((name) => `dashboard.ts:${name}`).sort());
  });
});
