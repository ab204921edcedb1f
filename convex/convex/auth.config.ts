// Who signs your users in. Its token carries the claim organization_id: see docs/sync.md.
export default {
  providers: [{ domain: process.env.AUTH_ISSUER_URL ?? "", applicationID: process.env.AUTH_AUDIENCE ?? "convex" }],
};
