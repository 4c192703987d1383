// SPDX-License-Identifier: MIT
//
// npm `socket.io` as a peer of the benchmark: node socketio.js PORT echo|chat [REDIS_URL]. It runs on npm `ws` with
// the same native helpers; the event "m" carries the payload.
"use strict";

const { createServer } = require("http");
const { Server } = require("socket.io");

const [port, mode, redis] = process.argv.slice(2);
const http = createServer();
const io = new Server(http, { serveClient: false, maxHttpBufferSize: 16 << 20 });

io.on("connection", (socket) => {
  if (mode === "echo") socket.on("m", (payload) => socket.emit("m", payload));
  else socket.on("m", (payload) => io.emit("m", payload));
});

async function join(url) {
  const { createClient } = require("redis");
  const { createAdapter } = require("@socket.io/redis-adapter");
  const pub = createClient({ url });
  const sub = pub.duplicate();

  await Promise.all([pub.connect(), sub.connect()]);
  io.adapter(createAdapter(pub, sub));
}

const listen = () => http.listen({ host: "127.0.0.1", port: Number(port), backlog: 4096 });

if (redis) join(redis).then(listen);
else listen();
