'use strict';
// Written by `hourkey exec` for Node.js, which before 22.21 and 24.5 does not read HTTPS_PROXY, and after
// that only for programs that bring no agent of their own: it leads TLS connections to the gateway's
// hosts through the forwarder, and leaves all others alone. Bun and Deno need none of this.
const hosts = new Set(HOSTS);
const address = ADDRESS;
const proxy = process.env.HTTPS_PROXY;

if (proxy?.endsWith('@' + address) && !process.versions.bun && !process.versions.deno) {
  const net = require('node:net');
  const tls = require('node:tls');
  const { Duplex } = require('node:stream');
  const { hostname, port, username, password } = new URL(proxy);
  const authorization = Buffer.from(`${username}:${password}`).toString('base64');

  // tunnel gives a stream to host. What is written to it waits until the forwarder has answered CONNECT.
  const tunnel = (host) => {
    let answered = false;
    let head = Buffer.alloc(0);
    let waiting = () => {};
    const socket = net.connect(Number(port), hostname);
    const stream = new Duplex({
      read() { socket.resume(); },
      write(chunk, _encoding, done) {
        waiting = () => socket.write(chunk, done);
        if (answered) waiting();
      },
      final(done) { socket.end(done); },
      destroy(error, done) { socket.destroy(); done(error); },
    });
    const answer = (chunk) => {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) return;
      const line = head.subarray(0, head.indexOf('\r\n')).toString('latin1');
      if (!line.startsWith('HTTP/1.1 200 ')) {
        stream.destroy(new Error(line.slice('HTTP/1.1 '.length)));
        return;
      }
      answered = true;
      if (head.length > end + 4) stream.push(head.subarray(end + 4));
      waiting();
    };
    socket.on('data', (chunk) => {
      if (!answered) answer(chunk);
      else if (!stream.push(chunk)) socket.pause();
    });
    socket.on('end', () => stream.push(null));
    socket.on('error', (error) => stream.destroy(error));
    socket.on('close', () => stream.destroy());
    socket.write(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\nProxy-Authorization: Basic ${authorization}\r\n\r\n`);
    return { socket, stream };
  };

  const connect = tls.connect;
  tls.connect = function (options, ...more) {
    const host = String(options?.host ?? options?.servername).toLowerCase();
    if (typeof options !== 'object' || options.socket || Number(options.port) !== 443 || !hosts.has(host)) {
      return connect.call(this, options, ...more);
    }
    const { socket, stream } = tunnel(host);
    const secure = connect.call(this, { ...options, socket: stream, servername: options.servername || host }, ...more);
    secure.ref = () => { socket.ref(); return secure; }; // an idle connection does not keep the program alive
    secure.unref = () => { socket.unref(); return secure; };
    return secure;
  };
  require('node:module').syncBuiltinESMExports();
}
