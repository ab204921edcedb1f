import { cronJobs, makeFunctionReference } from "convex/server";

const crons = cronJobs();
crons.interval("drop what is over", { hours: 1 }, makeFunctionReference<"mutation">("sync:sweep") as never);
export default crons;
