// The identity provider of your users. Its tokens need the claim organization_id: see docs/sync.md.
export default {
  providers: [{ domain: process.env.AUTH_ISSUER_URL ?? "", applicationID: process.env.AUTH_AUDIENCE ?? "convex" }],
};
