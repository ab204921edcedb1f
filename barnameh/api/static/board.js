// Keeps the board up to date: a change in the stream refetches the part that shows it. No framework.
"use strict";

const SHOWN_BY = {
  alert: ["alerts"],
  anomaly: ["alerts"],
  resource_status: ["machines", "kpis"],
  forecast: ["demand"],
  plan: ["roster"],
};
const ALL = ["alerts", "kpis", "machines", "demand", "roster"];
const GATHER_MS = 150; // changes within this time share a fetch
const REST_MS = 2200; // minimum time between fetches of a part
const ANYHOW_MS = 60_000; // ages and KPIs change without events

const waiting = new Map();
const fetchedAt = new Map();
const state = document.getElementById("state");
let newest = document.querySelector("[data-newest]")?.dataset.newest;

function show(word, text) {
  if (state.dataset.state !== word) {
    state.dataset.state = word;
    state.textContent = text;
  }
}

function renew(part) {
  if (waiting.has(part)) return;
  const rest = (fetchedAt.get(part) ?? -Infinity) + REST_MS - performance.now();
  waiting.set(part, setTimeout(() => fetchPart(part), Math.max(GATHER_MS, rest)));
}

async function fetchPart(part) {
  waiting.delete(part);
  fetchedAt.set(part, performance.now());
  try {
    const answer = await fetch(`/board/${part}`, { credentials: "same-origin" });
    if (answer.status === 401) return location.reload(); // the key has expired or was revoked
    if (!answer.ok) return setTimeout(() => renew(part), 5000);
    put(part, await answer.text());
  } catch {
    setTimeout(() => renew(part), 5000);
  }
}

function put(part, html) {
  const place = document.querySelector(`[data-part="${part}"]`);
  if (place.dataset.html === html) return;
  const open = [...place.querySelectorAll("details")].map((details) => details.open);
  const held = place.contains(document.activeElement) ? [...place.querySelectorAll("summary")].indexOf(document.activeElement) : -1;
  const known = new Set([...place.querySelectorAll("[data-alert]")].map((alert) => alert.dataset.alert));
  place.innerHTML = html; // from our own server, with all values escaped
  place.querySelectorAll("[data-alert]").forEach((alert) => alert.classList.toggle("new", !known.has(alert.dataset.alert)));
  place.dataset.html = html;
  place.querySelectorAll("details").forEach((details, number) => (details.open = open[number] ?? false));
  if (held >= 0) place.querySelectorAll("summary")[held]?.focus();
  if (part === "alerts") say(place.querySelector("[data-newest]"));
}

function say(mark) {
  if (mark && mark.dataset.newest !== newest) document.getElementById("said").textContent = mark.dataset.say;
  newest = mark?.dataset.newest ?? newest;
}

function listen() {
  const stream = new EventSource("/board/stream");
  for (const kind of Object.keys(SHOWN_BY)) stream.addEventListener(kind, () => SHOWN_BY[kind].forEach(renew));
  stream.addEventListener("gap", () => ALL.forEach(renew));
  stream.addEventListener("hello", () => {
    if (state.dataset.state !== "waiting") ALL.forEach(renew);
    show("live", "live");
  });
  stream.onerror = () => {
    show("lost", "connection lost, trying again");
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 5000); // no retry by the browser
  };
}

function tick() {
  const clock = document.getElementById("clock");
  const zone = clock.dataset.zone;
  const now = new Date();
  clock.dateTime = now.toISOString();
  clock.textContent = now.toLocaleString(undefined, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: zone });
}

tick();
setInterval(tick, 5000);
setInterval(() => ALL.forEach(renew), ANYHOW_MS);
listen();
