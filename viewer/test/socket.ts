// Stands in for the browser's WebSocket: the same events, over a plain TCP connection.

import { connect as dial, type Socket } from 'node:net';

class TcpWebSocket {
  static readonly OPEN = 1;
  readyState = 0;
  binaryType = '';
  bufferedAmount = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: ArrayBuffer }) => void) | null = null;
  onclose: (() => void) | null = null;
  onerror: (() => void) | null = null;
  private readonly socket: Socket;

  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.socket = dial(Number(port), hostname);
    this.socket.on('connect', () => {
      this.readyState = 1;
      this.onopen?.();
    });
    this.socket.on('data', (data) => this.onmessage?.({ data: new Uint8Array(data).buffer }));
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => {
      this.readyState = 3;
      this.onclose?.();
    });
  }

  send(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  close(): void {
    this.readyState = 2;
    this.socket.end();
  }
}

Object.assign(globalThis, { WebSocket: TcpWebSocket });
