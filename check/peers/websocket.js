// SPDX-License-Identifier: MIT
//
// npm `websocket` as an echo server for wscheck: websocket.js PORT.
"use strict";

const http = require("http");
const { server: WebSocketServer } = require("websocket");

const httpServer = http.createServer((request, response) => response.writeHead(404).end());

httpServer.listen(Number(process.argv[2]), "127.0.0.1");
new WebSocketServer({
  httpServer,
  autoAcceptConnections: true,
  maxReceivedFrameSize: 16 << 20,
  maxReceivedMessageSize: 16 << 20,
}).on("connect", (connection) => {
  connection.on("error", () => {}); // a client that resets is not an error here
  connection.on("message", (message) => {
    if (message.type === "utf8") connection.sendUTF(message.utf8Data);
    else connection.sendBytes(message.binaryData);
  });
});
