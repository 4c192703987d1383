// SPDX-License-Identifier: MIT
//
// npm `ws` as a peer of the benchmark: node ws.js PORT echo|chat. Its native helpers are installed, and
// compression is off, as with all servers here.
"use strict";

const { WebSocketServer } = require("ws");

const [port, mode] = process.argv.slice(2);
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(port),
  backlog: 4096,
  perMessageDeflate: false,
});

server.on("connection", (socket) => {
  socket.on("error", () => {}); // a client that resets is not an error here
  if (mode === "echo") {
    socket.on("message", (data, binary) => socket.send(data, { binary }));
  } else {
    socket.on("message", (data, binary) => {
      for (const client of server.clients) client.send(data, { binary });
    });
  }
});
