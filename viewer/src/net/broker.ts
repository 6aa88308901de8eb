// The only file that knows mqtt.js: one connection to the broker, which is either open or over. `machine.ts` decides
// when there is a next one, so mqtt.js does not reconnect by itself.

import mqtt, { type MqttClient } from 'mqtt';
import { loginOf } from '../core/access.ts';
import type { Link } from '../core/link.ts';
import { encode, type Up } from '../core/signal.ts';
import type { BrokerTrouble } from '../core/state.ts';
import { BROKER_ANSWER_MS } from '../core/timing.ts';

export interface BrokerEvents {
  open(): void;
  closed(why: BrokerTrouble): void;
  /** `topic` is what follows `<root>/<device>/`. */
  message(topic: string, payload: string): void;
}

const LONGEST_PAYLOAD = 64 * 1024;

export class Broker {
  private readonly client: MqttClient | undefined;
  private readonly up: string;
  private over = false;
  private opened = false;
  private trouble: BrokerTrouble | undefined;
  private probing: ReturnType<typeof setTimeout> | undefined;

  constructor(link: Link, viewer: string, session: string, private readonly events: BrokerEvents) {
    const device = `${link.root}/${link.device}`;
    this.up = `${device}/signal/${viewer}/up`;
    try {
      this.client = mqtt.connect(link.url, {
        clientId: viewer,
        protocolVersion: 4, // 3.1.1: every broker speaks it, and nothing here needs more
        clean: true,
        keepalive: 20,
        connectTimeout: 8_000,
        reconnectPeriod: 0,
        transformWsUrl: () => link.url, // mqtt.js writes an IPv6 address without its brackets
        ...loginOf(link),
        will: { topic: this.up, payload: encode({ type: 'bye', session, reason: 'connection lost' }) as unknown as Buffer, qos: 1, retain: false },
      });
    } catch (error) {
      console.warn('porthole: broker', error);
      queueMicrotask(() => this.end('unreachable'));
      return;
    }
    const { client } = this;
    client.on('connect', () => this.subscribe(device, `signal/${viewer}/down`));
    client.on('packetreceive', () => {
      clearTimeout(this.probing);
      this.probing = undefined;
    });
    client.on('message', (topic, payload) => {
      if (this.over || !topic.startsWith(`${device}/`) || payload.length > LONGEST_PAYLOAD) return;
      events.message(topic.slice(device.length + 1), payload.toString());
    });
    client.on('error', (error) => {
      const code = (error as { code?: unknown }).code;
      if (code === 3) this.trouble = 'not-yet'; // CONNACK: not available; the built-in broker says so of a link that it cannot judge before its clock is set
      if (code === 4) this.trouble = 'refused'; // bad user name or password
      if (code === 5) this.trouble = 'ended'; // not authorised; the built-in broker says so of a link that has expired, and of no other
      this.end('unreachable');
    });
    client.on('close', () => this.end(this.opened ? 'lost' : 'unreachable'));
  }

  /** Whether anybody is at the other end: it is over if the broker says nothing for a while. */
  probe(): void {
    if (this.over || !this.opened || !this.client || this.probing !== undefined) return;
    this.probing = setTimeout(() => this.end('lost'), BROKER_ANSWER_MS);
    this.client.sendPing();
  }

  /** Asks for a word of the broker's, too: without one there will be no answer of the device's. */
  send(message: Up): void {
    this.probe();
    this.client?.publish(this.up, encode(message), { qos: 1 }, (error) => {
      if (error && !this.over) console.debug('porthole: publish', error);
    });
  }

  /** The last word of a page that goes away: nothing after it would be sent, and if it is lost the will says the same. */
  sendLast(message: Up): void {
    this.client?.publish(this.up, encode(message), { qos: 0 });
  }

  close(): void {
    this.over = true;
    clearTimeout(this.probing);
    this.client?.end(true);
  }

  /** The device's status first, so that a retained `offline` is here before the subscription to `down` is confirmed. */
  private subscribe(device: string, down: string): void {
    const status = ['availability', 'state', 'info'].map((topic) => `${device}/${topic}`);
    this.client?.subscribe(status, { qos: 1 }, (error) => {
      if (error) console.debug('porthole: status topics', error);
    });
    this.client?.subscribe(`${device}/${down}`, { qos: 1 }, (error, granted) => {
      if (this.over) return;
      if (error || granted?.some(({ qos }) => qos > 2)) {
        this.trouble = 'not-allowed';
        return this.end('not-allowed');
      }
      this.opened = true;
      this.events.open();
    });
  }

  private end(why: BrokerTrouble): void {
    if (this.over) return;
    this.close();
    this.events.closed(this.trouble ?? why);
  }
}
