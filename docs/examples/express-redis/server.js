import express from "express";
import { createClient } from "redis";

const store = createClient({ url: process.env.REDIS_URL });
store.on("error", (error) => console.error(error.message));
await store.connect();

const app = express();

app.get("/health", async (request, response) => {
  response.json({ redis: await store.ping() });
});

app.use((request, response, next) => {
  const allowed = request.get("Authorization") === `Bearer ${process.env.API_TOKEN}`;
  allowed ? next() : response.status(401).json({ error: "The token is not valid." });
});

app.post("/counters/:name", async (request, response) => {
  const { name } = request.params;
  response.json({ name, value: await store.incr(name) });
});

app.get("/counters/:name", async (request, response) => {
  const { name } = request.params;
  response.json({ name, value: Number(await store.get(name)) });
});

app.listen(3000, () => console.log("Listening on port 3000"));
